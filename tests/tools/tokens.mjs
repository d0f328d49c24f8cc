// Counts what the MCP adapter's tools/list costs an agent's context, per tool and in all, in o200k tokens.
// Usage: node tokens.mjs <tools prefix> <meshctl>

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

const LIMIT = 1000;
const PATIENCE_MS = 30_000;

const [prefix, meshctl] = process.argv.slice(2);
const { countTokens } = createRequire(resolve(prefix, 'package.json'))('gpt-tokenizer/encoding/o200k_base');

const adapter = spawn(meshctl, ['mcp'], { stdio: ['pipe', 'pipe', 'inherit'] });
adapter.on('error', (error) => fail(`cannot start ${meshctl}: ${error.message}`));
adapter.stdin.on('error', () => {}); // The adapter went away; its missing answer is the error.
setTimeout(() => fail(`no answer to tools/list within ${PATIENCE_MS / 1000} s`), PATIENCE_MS).unref();

const send = (message) => adapter.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
send({
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'tokens', version: '1' } },
});
for await (const line of createInterface({ input: adapter.stdout })) {
  const { id, result, error } = JSON.parse(line);
  if (error) fail(`the adapter refuses: ${error.message}`);
  if (id === 1) {
    send({ method: 'notifications/initialized' });
    send({ id: 2, method: 'tools/list' });
  } else if (id === 2) {
    adapter.stdin.end();
    report(result.tools);
  }
}
fail('the adapter ended without answering tools/list');

// Ends the program, as does `fail`.
function report(tools) {
  const row = (count, name) => console.log(`${String(count).padStart(6)}  ${name}`);
  for (const tool of tools) row(countTokens(JSON.stringify(tool)), tool.name);
  const total = countTokens(JSON.stringify(tools));
  row(total, `all ${tools.length} tools, limit ${LIMIT}`);
  process.exit(total > LIMIT ? 1 : 0);
}

function fail(message) {
  console.error(message);
  adapter.kill();
  process.exit(1);
}
