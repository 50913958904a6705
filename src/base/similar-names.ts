// What somebody may have meant who mistyped a name.

const MAX_SUGGESTIONS = 3;

/** How many letters have to be put in, left out, changed or swapped with their neighbour to make one word of another. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const next = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const cost = a[row - 1] === b[column - 1] ? 0 : 1;
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      next[column] = Math.min(
        (last[column] ?? 0) + 1,
        (next[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + cost,
        ...(isSwap ? [(before[column - 2] ?? 0) + 1] : []),
      );
    }
    before = last;
    last = next;
  }
  return last[b.length] ?? a.length;
}

/** The names that are nearest to `text`, nearest first; none where all are too far. */
export function similarNames(text: string, names: Iterable<string>): string[] {
  const most = Math.max(1, Math.floor(text.length / 3));
  return [...new Set(names)]
    .filter((name) => Math.abs(name.length - text.length) <= most)
    .map((name) => ({ name, distance: editDistance(text.toLowerCase(), name.toLowerCase()) }))
    .filter(({ distance }) => distance <= most)
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_SUGGESTIONS)
    .map(({ name }) => name);
}

/** "; did you mean web?", or nothing. */
export function didYouMean(text: string, names: Iterable<string>): string {
  const similar = similarNames(text, names);
  return similar.length === 0 ? '' : `; did you mean ${similar.join(' or ')}?`;
}
