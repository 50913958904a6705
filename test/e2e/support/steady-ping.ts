// A ping that runs beside the test, and what came back of it.
import { waitFor, type Host } from '../../../lab/host';

/** Pings so many times a second from a container, until it is ended; inside of the container it goes on even then. */
export function steadyPing(host: Host, from: string, to: string, aSecond: number) {
  const command = host.background(['docker', 'exec', from, 'ping', '-i', String(1 / aSecond), to]);
  const seen = () => [...command.text().matchAll(/ seq=(\d+) /g)].map(([, seq]) => Number(seq));
  return {
    answers: () => seen().length,
    started: () => waitFor('the first answers', () => seen().length > 3),
    /** Ends it a second later; how many did not come back, but for the last ones. */
    lost: async () => {
      const until = (seen().at(-1) ?? 0) + aSecond;
      await waitFor('more answers', () => (seen().at(-1) ?? 0) > until);
      const numbers = seen();
      await command.stop();
      return numbers.at(-1)! + 1 - numbers.length;
    },
    stop: () => command.stop(),
  };
}
