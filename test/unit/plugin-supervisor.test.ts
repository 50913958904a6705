// Process 1 of the plugin, with the programs that the plugin has and no others: Debian's tools are not there.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PLUGIN = join(__dirname, '../../plugin');
const supervisor = readFileSync(join(PLUGIN, 'supervisor.sh'), 'utf8');
/** What it defines, without what it does. */
const functions = supervisor.slice(0, supervisor.indexOf("agent='' servers=''"));
const programs = /^PROGRAMS='([^']*)'/m
  .exec(readFileSync(join(PLUGIN, 'collect.sh'), 'utf8'))![1]!
  .trim()
  .split(/\s+/);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'supervisor-'));
  mkdirSync(join(folder, 'bin'));
  for (const name of programs.filter((program) => !program.startsWith('ovs'))) {
    const path = spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim();
    if (path.startsWith('/')) symlinkSync(path, join(folder, 'bin', name));
  }
  mkdirSync(join(folder, 'data'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program of Open vSwitch that writes down how it was called, and does `body`. */
function program(name: string, body: string): void {
  const path = join(folder, 'bin', name);
  writeFileSync(path, `#!/bin/sh\necho "${name} $*" >>${folder}/calls\n${body}\n`);
  chmodSync(path, 0o755);
}

function run(words: string): { readonly status: number | null; readonly said: string } {
  const places = `STATE=${folder}/data SCHEMAS=/schemas RUN=${folder}/data CATCH_UP=0 CONVERT_PAUSE=0 PLAN=${folder}/data/plan RESTORED=${folder}/data/restored`;
  const script = `${functions}\n${places}\n${words}`;
  const { status, stderr } = spawnSync('/bin/sh', ['-c', script], {
    env: { PATH: join(folder, 'bin') },
    encoding: 'utf8',
  });
  return { status, said: stderr };
}

const calls = () => (existsSync(join(folder, 'calls')) ? readFileSync(join(folder, 'calls'), 'utf8') : '');

test('it is a script, and asks for no program that the plugin does not have', () => {
  execFileSync('sh', ['-n', join(PLUGIN, 'supervisor.sh')]);
  const words = supervisor
    .replace(/#.*$/gm, '')
    .matchAll(/(?:^|[|&;(!]|\b(?:then|do|else|if|while|exec))\s*([a-z][a-z0-9-]*)(?=\s)/gm);
  const tools = [
    'awk',
    'basename',
    'cut',
    'date',
    'dirname',
    'env',
    'find',
    'grep',
    'head',
    'sed',
    'sort',
    'stat',
    'tail',
  ];
  const missing = [...tools, 'tee', 'touch', 'tr', 'uniq', 'wc', 'xargs'];
  expect([...words].map(([, word = '']) => word).filter((word) => missing.includes(word))).toEqual([]);
});

test.each([
  ['1.5.0', '1.4.0', true],
  ['1.10.0', '1.9.9', true],
  ['2.0.0', '1.99.99', true],
  ['1.5.0', '1.5.0', false],
  ['1.4.0', '1.5.0', false],
  ['1.9.9', '1.10.0', false],
])('%s is later than %s: %s', (a, b, is) => {
  expect(run(`is_later ${a} ${b}`)).toEqual({ status: is ? 0 : 1, said: '' });
});

const AS_IT_IS = "of version 1.6.0, later than this plugin's 1.5.0: it is used as it is";

test.each([
  ['an older', '1.4.0', true, 'converting /db from version 1.4.0 to 1.5.0'],
  ['the same', '1.5.0', true, 'converting /db from version 1.5.0 to 1.5.0'],
  ['a later', '1.6.0', false, AS_IT_IS],
])('a host’s own database of %s version and another schema', (_, version, isConverted, said) => {
  const file = join(folder, 'data/directory.db');
  writeFileSync(file, 'rows');
  program(
    'ovsdb-tool',
    `case $1 in db-is-clustered) exit 1 ;; needs-conversion) echo yes ;; db-version) echo ${version} ;; schema-version) echo 1.5.0 ;; esac`,
  );
  const result = run(`prepare_database ${file} /schemas/x`);
  expect(result.status).toBe(0);
  expect(result.said.replace(file, '/db')).toContain(said);
  expect(calls().includes(`convert ${file} /schemas/x`)).toBe(isConverted);
  expect(existsSync(`${file}.before-${version}`)).toBe(isConverted);
});

test.each([
  ['an older', '1.4.0', true, 'converting'],
  ['the same', '1.5.0', false, ''],
  ['a later', '1.6.0', false, AS_IT_IS],
])('a cluster’s database of %s version', (_, version, isConverted, text) => {
  program('ovsdb-client', `case $* in *get-schema-version*) echo ${version} ;; esac`);
  program('ovsdb-tool', 'echo 1.5.0');
  const { said } = run('convert_member /schemas/x');
  expect(said).not.toContain('not found');
  if (text === '') expect(said).toBe('');
  else expect(said).toContain(text);
  expect(calls().includes(`convert unix:${folder}/data/directory.sock /schemas/x`)).toBe(isConverted);
});

test('a cluster’s database that cannot be converted yet is tried again, until it can be', () => {
  program('ovsdb-tool', 'echo 1.5.0');
  program(
    'ovsdb-client',
    `case $* in
      *get-schema-version*) echo 1.4.0 ;;
      *convert*) echo x >>${folder}/tries; [ "$(cat ${folder}/tries)" = "x\nx\nx" ] ;;
    esac`.replaceAll('\\n', '\n'),
  );
  expect(run('convert_when_there /schemas/x').said).not.toContain('could not be converted');
  expect(readFileSync(join(folder, 'tries'), 'utf8')).toBe('x\nx\nx\n');
  program('ovsdb-client', `[ "$(cat ${folder}/tries)" = xxxx ] || { printf x >>${folder}/tries; exit 1; }; echo 1.5.0`);
  writeFileSync(join(folder, 'tries'), '');
  expect(run('CONVERT_TRIES=3; convert_when_there /schemas/x').said).toContain('cannot be converted yet');
});

test('a backup takes the place of a file that is no database', () => {
  writeFileSync(join(folder, 'data/directory.db'), 'torn');
  writeFileSync(join(folder, 'data/restored'), 'whole');
  writeFileSync(join(folder, 'data/plan'), 'restore - ssl:192.0.2.1:7473\n');
  program(
    'ovsdb-tool',
    `case $1 in
      db-is-clustered) [ "$(cat $2)" = new ] ;;
      needs-conversion) [ "$(cat $2)" = new ] || exit 1 ;;
      --election-timer*) echo new >$3; echo new >${folder}/made ;;
    esac`,
  );
  program('ovsdb-server', '');
  program('ovsdb-client', 'echo 1.5.0');
  const { status, said } = run('directory');
  expect(said).not.toContain('not found');
  expect({ status, file: readFileSync(join(folder, 'data/directory.db'), 'utf8') }).toEqual({
    status: 0,
    file: 'new\n',
  });
  expect(calls()).toContain('ovsdb-server');
  expect(existsSync(join(folder, 'data/plan'))).toBe(false);
});

test('the plugin’s own Open vSwitch says which version it is, which ovs-vswitchd does not do by itself', () => {
  program('ovs-vsctl', '');
  program('ovs-vswitchd', 'echo "ovs-vswitchd (Open vSwitch) 3.1.0"; echo "DPDK 22.11.6"');
  expect(run('switch').status).toBe(0);
  expect(calls()).toMatch(/ovs-vsctl .*init -- set Open_vSwitch \. ovs_version=3\.1\.0\novs-vswitchd unix:/);
});
