// Keeps the controller's policy in step with the directory: another book whenever rules, groups or defaults of networks have
// changed, and another look at endpoints whose names, or whose network's name, became known.

import type { DirectoryChange, EndpointRow } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import type { Controller } from './flowctl/controller';
import { readPolicies } from './policy/read-policies';
import type { Subjects } from './policy/subjects';

export class PolicyFollower {
  /** Those that the controller's policy asks. */
  private subjects: Subjects | undefined;

  constructor(
    private readonly store: Pick<DirectoryStore, 'view'>,
    private readonly controller: Pick<Controller, 'setPolicy' | 'refreshSubjects'>,
  ) {}

  /** Before the first endpoint is entered. */
  load(): void {
    const { book, subjects } = readPolicies(this.store.view);
    this.subjects = subjects;
    this.controller.setPolicy(book);
  }

  /** What one transaction changed; the controller knows of new endpoints already. */
  take(changes: readonly DirectoryChange[]): void {
    if (changes.some(changesRules)) return this.load();
    const renamed = changes.flatMap((change) => {
      if (change.table === 'Endpoint') return renamedIn(change) ?? [];
      return change.table === 'Network' ? this.inRenamed(change) : [];
    });
    if (renamed.length > 0) this.controller.refreshSubjects(renamed);
  }

  /** The endpoints of a network that has another name now: rules may be about it. Mostly it has none yet. */
  private inRenamed(change: DirectoryChange & { readonly table: 'Network' }): string[] {
    if (change.kind === 'insert' || (change.kind === 'modify' && change.row.name === change.previous.name)) return [];
    const { id } = change.previous;
    this.subjects?.forget(id);
    return [...this.store.view.endpointsOf(id)].map((endpoint) => endpoint.id);
  }
}

function changesRules(change: DirectoryChange): boolean {
  switch (change.table) {
    case 'Group':
    case 'Pair':
    case 'Policy':
      return true;
    case 'Network':
      return change.kind === 'modify' && change.row.isDefaultDeny !== change.previous.isDefaultDeny;
    default:
      return false;
  }
}

/** The id of an endpoint of which rules may say something else than before. */
function renamedIn(change: DirectoryChange & { readonly table: 'Endpoint' }): string | undefined {
  if (change.kind !== 'modify') return undefined;
  const names = ({ containerName, service, host, labels }: EndpointRow) =>
    JSON.stringify([containerName, service, host, ...labels]);
  return names(change.row) === names(change.previous) ? undefined : change.row.id;
}
