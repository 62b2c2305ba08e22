// A js-libp2p peer that the suite drives: one JSON command a line in, one JSON answer a line out.
//
//   {"do": "serve"}                    → {"address", "peer", "key"}: a fresh peer that serves
//   {"do": "relay"}                    → the same: a fresh circuit relay v2
//   {"do": "reserve", "address"}       → the same: a fresh peer that serves at the relay there alone
//   {"do": "stop"}                     → {}: none of them does any more
//   {"do": "play", "play", "address"}  → {"result"}: what a fresh peer saw that called the address
//   {"do": "visit", "address"}         → {"result"}: what it saw of identify, ping and echo there

import { createInterface } from 'node:readline'

// libp2p asks for Node.js 22 for the sake of this one function.
Promise.withResolvers ??= function () {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

const { noise } = await import('@chainsafe/libp2p-noise')
const { yamux } = await import('@chainsafe/libp2p-yamux')
const { circuitRelayServer, circuitRelayTransport } = await import('@libp2p/circuit-relay-v2')
const { identify } = await import('@libp2p/identify')
const { ping } = await import('@libp2p/ping')
const { tcp } = await import('@libp2p/tcp')
const { multiaddr } = await import('@multiformats/multiaddr')
const { createLibp2p } = await import('libp2p')
const { handlers, plays, protocolOf } = await import('./plays.mjs')
const { Wire } = await import('./wire.mjs')

const STREAMS_MAX = 1000

const peer = async (listen, services = {}) => await createLibp2p({
  addresses: { listen },
  // Circuits need identify, which the plain plays do without.
  transports: 'identify' in services ? [tcp(), circuitRelayTransport()] : [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionMonitor: { enabled: false },
  services
})

// It asks by itself, too, as soon as a connection is there.
const known = () => ({ identify: identify({ maxOutboundStreams: 8 }), ping: ping() })

const serving = []

const place = (served, address) => ({
  address,
  peer: served.peerId.toString(),
  key: Buffer.from(served.peerId.publicKey.raw).toString('hex')
})

const serve = async (listen, services) => {
  const served = await peer([listen], services)
  serving.push(served)
  for (const [protocol, handle] of handlers()) {
    await served.handle(protocol, handle, { maxInboundStreams: STREAMS_MAX })
  }
  return served
}

const direct = (served) => place(served, served.getMultiaddrs()[0].toString().split('/p2p/')[0])

const commands = {
  serve: async () => direct(await serve('/ip4/127.0.0.1/tcp/0')),

  relay: async () => direct(await serve('/ip4/127.0.0.1/tcp/0', {
    ...known(),
    relay: circuitRelayServer({ reservations: { applyDefaultLimit: false } })
  })),

  reserve: async ({ address }) => {
    const served = await serve(`${address}/p2p-circuit`, known())
    const [reserved] = served.getMultiaddrs()
    if (reserved == null) {
      throw new Error('no reservation')
    }
    return place(served, reserved.toString().split('/p2p-circuit')[0] + '/p2p-circuit')
  },

  stop: async () => {
    for (const served of serving.splice(0).reverse()) {
      await served.stop()
    }
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
  },

  visit: async ({ address }) => {
    const caller = await peer([], known())
    try {
      const connection = await caller.dial(multiaddr(address))
      const said = await caller.services.identify.identify(connection)
      await caller.services.ping.ping(connection.remotePeer)
      const open = async (name) => new Wire(await connection.newStream(protocolOf(name)))
      return {
        result: {
          key: Buffer.from(said.peerId.publicKey.raw).toString('hex'),
          agent: said.agentVersion,
          protocols: said.protocols,
          limited: connection.limits != null,
          echo: (await plays.echo(open)).same
        }
      }
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
