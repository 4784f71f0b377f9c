// ioredis and node-redis, plain and in cluster mode, against each node whose port is given.

const assert = require('assert');
const Redis = require('ioredis');
const { createClient, createCluster } = require('redis');

const ports = process.argv.slice(2).map(Number);

async function ioredisPlain(port) {
  const client = new Redis(port);
  assert.equal(await client.set('js:a', '1'), 'OK');
  assert.equal(await client.get('js:a'), '1');
  assert.equal(await client.del('js:a'), 1);
  const pipe = client.pipeline();
  for (let at = 0; at < 100; at++) pipe.set(`js:${at}`, at).get(`js:${at}`);
  (await pipe.exec()).forEach(([error, value], at) => {
    assert.ifError(error);
    assert.equal(value, at % 2 ? String((at - 1) / 2) : 'OK');
  });
  assert.deepEqual(await client.mget('js:1', 'js:none'), ['1', null]);
  assert.ok(await client.call('Q.GET', 'js:1', 'META'));
  client.disconnect();
}

async function ioredisCluster(port) {
  const client = new Redis.Cluster([{ host: '127.0.0.1', port }]);
  for (let at = 0; at < 100; at++) await client.set(`jc:${at}`, at);
  for (let at = 0; at < 100; at++) assert.equal(await client.get(`jc:${at}`), String(at));
  assert.equal(client.nodes().length, 3);
  client.disconnect();
}

async function nodeRedis(port, RESP) {
  const client = createClient({ url: `redis://127.0.0.1:${port}`, RESP });
  await client.connect();
  await client.set('nr:a', '1');
  assert.equal(await client.get('nr:a'), '1');
  assert.equal(await client.del('nr:a'), 1);
  await client.close();
  const cluster = createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }], defaults: { RESP } });
  await cluster.connect();
  for (let at = 0; at < 50; at++) await cluster.set(`nc:${at}`, String(at));
  for (let at = 0; at < 50; at++) assert.equal(await cluster.get(`nc:${at}`), String(at));
  await cluster.close();
}

(async () => {
  for (const port of ports) {
    await ioredisPlain(port);
    await ioredisCluster(port);
    for (const RESP of [2, 3]) await nodeRedis(port, RESP);
  }
  const version = (name) => require(`${name}/package.json`).version;
  console.log(`ioredis ${version('ioredis')}, node-redis ${version('redis')} ok: plain and cluster, ${ports.length} nodes`);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
