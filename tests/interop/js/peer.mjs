// A js-libp2p peer that the suite drives: one JSON command a line in, one JSON answer a line out.
//
//   {"do": "serve"}                    → {"address", "peer", "key"}: a fresh peer that serves
//   {"do": "stop"}                     → {}: it no longer does
//   {"do": "play", "play", "address"}  → {"result"}: what a fresh peer saw that called the address

import { createInterface } from 'node:readline'

// libp2p asks for Node.js 22 for the sake of this one function.
Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { tcp } = await import('@libp2p/tcp')
const { multiaddr } = await import('@multiformats/multiaddr')
const { createLibp2p } = await import('libp2p')
const { handlers, plays, protocolOf } = await import('./plays.mjs')
const { Wire } = await import('./wire.mjs')

const STREAMS_MAX = 1000

const peer = async (listen) => await createLibp2p({
  addresses: { listen },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionMonitor: { enabled: false }
})

let serving = null

const commands = {
  serve: async () => {
    serving = await peer(['/ip4/127.0.0.1/tcp/0'])
    for (const [protocol, serve] of handlers()) {
      await serving.handle(protocol, serve, { maxInboundStreams: STREAMS_MAX })
    }
    return {
      address: serving.getMultiaddrs()[0].toString().split('/p2p/')[0],
      peer: serving.peerId.toString(),
      key: Buffer.from(serving.peerId.publicKey.raw).toString('hex')
    }
  },

  stop: async () => {
    await serving.stop()
    return {}
  },

  play: async ({ play, address }) => {
    const caller = await peer([])
    try {
      const connection = await caller.dial(multiaddr(address))
      const open = async (name) => new Wire(await connection.newStream(
        protocolOf(name), { maxOutboundStreams: STREAMS_MAX }))
      return { result: await plays[play](open) }
    } finally {
      await caller.stop()
    }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  let said
  try {
    said = await commands[command.do](command)
  } catch (error) {
    said = { error: error.stack }
  }
  process.stdout.write(JSON.stringify(said) + '\n')
}
process.exit(0)
