// The colour of each network, the same as long as the page is there.

/** Told apart by most eyes, on dark and on light. */
const COLOURS = ['#3d8bfd', '#e69f00', '#12a67c', '#a27be8', '#38b2d6', '#d873ad', '#8aae3b', '#b5835a'];
const GOLDEN_ANGLE = 137.5;

/** One network among all of all tenants. */
export function networkKey(tenant: string, network: string): string {
  return `${tenant}/${network}`;
}

export class Colours {
  private readonly known = new Map<string, string>();

  /** A new network gets a colour that no other has. */
  of(network: string): string {
    const known = this.known.get(network);
    if (known !== undefined) return known;
    const number = this.known.size;
    const colour = COLOURS[number] ?? `hsl(${Math.round(number * GOLDEN_ANGLE) % 360}, 55%, 55%)`;
    this.known.set(network, colour);
    return colour;
  }
}
