// One question to every host of the cluster, through the agent of this one. Hosts that do not answer are said, and left out.

import type { ClusterStatus } from '../api/operations/cluster';
import { ApiError } from './api-client';
import type { CommandContext } from './command-context';

export interface AllAnswers<T> {
  /** In the order of the hosts' names. */
  readonly answers: readonly T[];
  /** "h3: the agent of host h3 cannot be reached". */
  readonly missing: readonly string[];
}

/** `path` begins with "/v1/". Throws where no host answers at all. */
export async function askAllHosts<T>(context: CommandContext, path: string): Promise<AllAnswers<T>> {
  const client = context.client();
  const { hosts } = await client.get<ClusterStatus>('/v1/cluster');
  const asked = await Promise.allSettled(
    hosts.map(({ name, isThis }) =>
      client.get<T>(isThis ? path : path.replace('/v1/', `/v1/at/${encodeURIComponent(name)}/`)),
    ),
  );
  const answers = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const missing = asked.flatMap((each, i) =>
    each.status === 'rejected' ? [`${hosts[i]?.name}: ${(each.reason as Error).message}`] : [],
  );
  if (answers.length === 0) throw new ApiError(missing.join('; '));
  return { answers, missing };
}

/** What stands below a table where hosts are missing from it. */
export function missingLines(missing: readonly string[]): string {
  return missing.map((line) => `\nnot known of ${line}`).join('');
}
