// The recording host keeps the contract that the real one keeps in test/e2e/host-contract.test.ts.
import { hostContract } from '../fakes/host-contract';
import { RecordingHost } from '../fakes/recording-host';

const host = new RecordingHost();

describe('the recording host', () => {
  hostContract(() => ({ host, makeHostInterface: () => host.links.addLink('daoli0', { mtu: 1500 }) }));

  test('records calls and fails once when told to', async () => {
    host.fail('links.listLinks', new Error('broken'));
    await expect(host.links.listLinks()).rejects.toThrow('broken');
    await expect(host.links.listLinks()).resolves.toBeDefined();
    expect(host.calls).toContain('links.createVeth dnagain');
  });
});
