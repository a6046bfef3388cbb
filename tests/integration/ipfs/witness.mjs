// What another implementation of IPFS makes of the same content. Usage: node witness.mjs REPO COMMANDS.json, offline.
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'

if (!Promise.withResolvers) { // Node 20 lacks it
  Promise.withResolvers = function () {
    let resolve, reject
    const promise = new Promise((a, b) => { resolve = a; reject = b })
    return { promise, resolve, reject }
  }
}
const { create } = await import('ipfs-core')
const { CID } = await import('multiformats/cid')
const config = { Bootstrap: [], Addresses: { Swarm: [] } }
const init = { emptyRepo: true, algorithm: 'Ed25519' }
const ipfs = await create({ repo: process.argv[2], offline: true, start: false, silent: true, init, config, EXPERIMENTAL: { sharding: true } })

async function whole (chunks) {
  const parts = []
  for await (const part of chunks) parts.push(part)
  return Buffer.concat(parts)
}

const verbs = {
  async add ({ path, version, rawLeaves, chunk }) {
    const options = { cidVersion: version, rawLeaves, chunker: `size-${chunk}`, pin: false }
    return String((await ipfs.add(await readFile(path), options)).cid)
  },
  async directory ({ files, version, rawLeaves }) { // text by path below the directory
    const entries = Object.entries(files).map(([path, text]) => ({ path: 'top/' + path, content: Buffer.from(text) }))
    let last
    for await (const added of ipfs.addAll(entries, { cidVersion: version, rawLeaves, pin: false })) last = added
    return String(last.cid)
  },
  async import ({ path, cat }) {
    const file = await readFile(path)
    const roots = []
    for await (const found of ipfs.dag.import([(async function * () { yield file })()], { pinRoots: true })) {
      roots.push(String(found.root.cid))
    }
    return { roots, sha256: createHash('sha256').update(await whole(ipfs.cat(cat))).digest('hex') }
  },
  async export ({ cid, path }) {
    await writeFile(path, await whole(ipfs.dag.export(CID.parse(cid))))
    return true
  }
}
const answers = []
for (const command of JSON.parse(await readFile(process.argv[3], 'utf8'))) answers.push(await verbs[command.do](command))
console.log(JSON.stringify(answers))
process.exit(0)
