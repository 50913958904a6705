// Numbers as people read them, and queries.

/** "5s", "3m20s", "2h5m", "3d4h"; "-" where it is not known. */
export function formatAge(seconds: number | null | undefined): string {
  if (seconds === undefined || seconds === null) return '-';
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const;
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0s';
  let left = seconds;
  return units
    .slice(first, first + 2)
    .map(([letter, size]) => {
      const count = Math.floor(left / size);
      left -= count * size;
      return count === 0 ? '' : `${count}${letter}`;
    })
    .join('');
}

/** "512 B", "1.5 KiB", "3.0 GiB"; "-" where it is not known. */
export function formatBytes(bytes: number | undefined): string {
  if (bytes === undefined) return '-';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** "?from=web", or nothing. */
export function queryOf(values: { readonly [key: string]: string | number | undefined }): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString();
  return query === '' ? '' : `?${query}`;
}
