// The rules of the directory as they are at this moment, ready to be asked.

import type { DirectoryView } from '../directory/view';
import { PolicyBook } from './policy-book';
import { rulesOf } from './rule';
import { Subjects } from './subjects';

export interface Policies {
  readonly book: PolicyBook;
  readonly subjects: Subjects;
}

export function readPolicies(
  view: Pick<DirectoryView, 'endpoint' | 'network' | 'groups' | 'pairs' | 'policies'>,
): Policies {
  const subjects = new Subjects(view);
  return { book: new PolicyBook(rulesOf(view.pairs(), view.policies()), (id) => subjects.find(id)), subjects };
}
