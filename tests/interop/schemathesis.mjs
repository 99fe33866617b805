// schemathesis, unmodified: requests made from the OpenAPI document, right ones and wrong ones, and each answer held against it.
import { execFile } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export async function withSchemathesis(binary, python, narrows) {
  const config = join(narrows.folder, 'narrows.toml');
  const roles = ['auditor', 'approver', 'admin'].flatMap((role) => ['--role', role]);
  const { stdout } = await run(binary, ['--config', config, 'operator', 'add', 'schemathesis', ...roles, '--json']);
  const { token } = JSON.parse(stdout);
  // The stream has no end, which is no answer to compare; a signed event is nothing that a schema can make; and an operator names a
  // client in each question, which a client need not.
  const excluded = ['/v1/revocations/stream', '/v1/events', '/v1/explain', '/access/v1/evaluation', '/access/v1/evaluations'];
  const options = [...excluded.flatMap((path) => ['--exclude-path', path]), '--max-examples', '40', '--request-timeout', '5', '--seed', '1', '--no-color'];
  const tool = resolve(dirname(python), 'schemathesis');
  await run(tool, ['run', `${narrows.issuer}/v1/openapi.json`, '-H', `Authorization: Bearer ${token}`, ...options], {
    timeout: 300_000, cwd: narrows.folder, maxBuffer: 16 * 1024 * 1024,
  }).catch((error) => { throw new Error(`${error.message}\n${error.stdout}`); });
}
