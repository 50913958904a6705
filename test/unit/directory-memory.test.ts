// The directory over the database in memory; test/ovs/directory-server.test.ts is the same over the real one.
import { DaoliError } from '../../src/base/errors';
import { deleteEndpoint, insertEndpoint } from '../../src/directory/endpoint-operations';
import { addNetwork, directoryContract, ENDPOINT, endpoint, NETWORK, run } from '../fakes/directory-contract';
import { createMemoryDatabase, createMemoryDirectory } from '../fakes/memory-directory';

directoryContract(() => {
  const database = createMemoryDatabase();
  return Promise.resolve({
    join: (host, locatorRange) =>
      Promise.resolve(createMemoryDirectory({ database, host, ...(locatorRange && { locatorRange }) })),
    rowCount: (table) => Promise.resolve(database.table(table).size),
    close: () => Promise.resolve(),
  });
});

describe('the transactor', () => {
  test.each(['lost-before', 'lost-after'] as const)('an answer that is %s being carried out', async (accident) => {
    const directory = createMemoryDirectory();
    await addNetwork(directory);
    directory.schedule(accident);
    await run(directory, (c) => insertEndpoint(c, endpoint));
    expect(directory.database.table('Endpoint').size).toBe(1);
    directory.schedule(accident);
    const block = { op: 'insert', table: 'LocatorBlock', row: { cidr: '100.65.0.0/24' }, uuidName: 'block' } as const;
    await directory.commit([block]);
  });

  test('what never fits is a conflict, what is wrong is internal', async () => {
    const directory = createMemoryDirectory();
    await addNetwork(directory);
    const id = directory.view.network(NETWORK)?.uuid as string;
    const swap = { op: 'wait', table: 'Network', where: [['_uuid', '==', id]], until: '==', timeout: 0 } as const;
    const stale = { ...swap, columns: ['mtu'], rows: [{ mtu: 9 }] };
    await expect(directory.commit([stale])).rejects.toMatchObject({ code: 'conflict' });
    let plans = 0;
    const plan = () => {
      plans += 1;
      return { ops: [stale], result: 1 };
    };
    await expect(directory.transact(plan)).rejects.toMatchObject({ code: 'conflict' });
    expect(plans).toBe(16);
    const bad = { op: 'insert', table: 'Endpoint', row: { id: 'e', port_no: 0 } } as const;
    await expect(directory.commit([bad])).rejects.toMatchObject({ code: 'internal' });
    const unknown = { op: 'insert', table: 'Endpoint', row: { colour: 'e' } } as const;
    await expect(directory.commit([unknown])).rejects.toMatchObject({ code: 'internal' });
  });

  test('a database that is away is waited for, but not for ever', async () => {
    jest.useFakeTimers();
    try {
      const directory = createMemoryDirectory();
      await addNetwork(directory);
      directory.setAway(true);
      const soon = run(directory, (c) => insertEndpoint(c, endpoint));
      await jest.advanceTimersByTimeAsync(4000);
      directory.setAway(false);
      await soon;
      directory.setAway(true);
      const never = run(directory, (c) => deleteEndpoint(c, ENDPOINT)).catch((error: unknown) => error);
      await jest.advanceTimersByTimeAsync(7000);
      const error = await never;
      expect(error).toBeInstanceOf(DaoliError);
      expect(error).toMatchObject({ code: 'unavailable' });
      expect((error as Error).message).toContain('within 7 s');
      expect(jest.getTimerCount()).toBe(0);
    } finally {
      jest.useRealTimers();
    }
  });
});
