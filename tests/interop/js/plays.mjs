// The protocols and plays of ../plays.py.

import {
  BULK_BYTES, MIB, Cut, Wire, pattern, readExactly, readToEnd, writePattern
} from './wire.mjs'

const protocol = (name) => `/p2psync-test/${name}/1`
const SLOW_BYTES = 8 * MIB
const STREAMS = 100
const COUNT_BYTES = 8

const event = () => {
  const made = {}
  made.wait = new Promise((resolve) => { made.set = resolve })
  return made
}

// What one served peer answers: handlers by protocol, each for a js-libp2p stream.
export function handlers () {
  const stage = { go: event(), told: [], heard: event() }

  const swallow = async (wire) => {
    const [count, digest] = await readToEnd(wire)
    await wire.write(Buffer.from(JSON.stringify([count, digest])))
    await wire.end()
  }

  const served = {
    echo: async (wire) => {
      for (let data = await wire.read(); data != null; data = await wire.read()) {
        await wire.write(data)
      }
      await wire.end()
    },
    swallow,
    give: async (wire) => {
      const count = await readExactly(wire, COUNT_BYTES)
      await writePattern(wire, Number(count.readBigUInt64BE()))
      await wire.end()
    },
    bye: async (wire) => {
      await wire.end()
      const [count, , how] = await readToEnd(wire)
      stage.told.push([count, how])
      stage.heard.set()
    },
    reset: async (wire) => {
      await readExactly(wire, 1)
      wire.reset()
    },
    stall: async (wire) => {
      await stage.go.wait
      await swallow(wire)
    },
    go: async (wire) => {
      stage.go.set()
      await wire.end()
    },
    told: async (wire) => {
      await stage.heard.wait
      await wire.write(Buffer.from(JSON.stringify(stage.told)))
      await wire.end()
    }
  }

  return Object.entries(served).map(([name, serve]) => [
    protocol(name),
    (stream) => {
      serve(new Wire(stream, name === 'stall')).catch((error) => {
        stream.abort(error)
      })
    }
  ])
}

async function answer (wire) {
  const parts = []
  for (let data = await wire.read(); data != null; data = await wire.read()) {
    parts.push(data)
  }
  return JSON.parse(Buffer.concat(parts).toString())
}

async function ask (open, name) {
  const wire = await open(name)
  await wire.end()
  return await answer(wire)
}

async function stillWorks (open) {
  try {
    const wire = await open('echo')
    await wire.write(Buffer.from('still here'))
    const good = (await readExactly(wire, 10)).toString() === 'still here'
    await wire.end()
    return good
  } catch (error) {
    if (error instanceof Cut) {
      return false
    }
    throw error
  }
}

export const plays = {
  echo: async (open) => {
    const wire = await open('echo')
    const same = []
    for (const size of [1, 255, 65519, 65536, 300000]) {
      const data = pattern(size, size)
      await wire.write(data)
      same.push(data.equals(await readExactly(wire, size)))
    }
    await wire.end()
    return { same, rest: await readToEnd(wire) }
  },

  bulk: async (open) => {
    const up = async () => {
      const wire = await open('swallow')
      await writePattern(wire, BULK_BYTES)
      await wire.end()
      return await answer(wire)
    }
    const down = async () => {
      const wire = await open('give')
      const count = Buffer.alloc(COUNT_BYTES)
      count.writeBigUInt64BE(BigInt(BULK_BYTES))
      await wire.write(count)
      return await readToEnd(wire)
    }
    const results = await Promise.all([up(), down()])
    return { up: results[0], down: results[1] }
  },

  'half-close': async (open) => {
    let wire = await open('swallow')
    await wire.write(Buffer.from('hello'))
    await wire.end()
    const afterOurs = await answer(wire)
    wire = await open('bye')
    const theirs = await readToEnd(wire)
    await writePattern(wire, MIB)
    await wire.end()
    return { 'after ours': afterOurs, theirs, 'after theirs': await ask(open, 'told') }
  },

  'reset by called': async (open) => {
    const wire = await open('reset')
    await wire.write(Buffer.from('!'))
    const [, , how] = await readToEnd(wire)
    return { how, then: await stillWorks(open) }
  },

  'reset by caller': async (open) => {
    const wire = await open('bye')
    await wire.write(Buffer.from('!'))
    wire.reset()
    return { told: await ask(open, 'told'), then: await stillWorks(open) }
  },

  hundred: async (open) => {
    const wires = []
    for (let number = 0; number < STREAMS; number++) {
      wires.push(await open('echo'))
    }
    const all = await Promise.all(wires.map(async (wire, number) => {
      const data = pattern(number, 20000)
      await wire.write(data)
      const good = data.equals(await readExactly(wire, data.length))
      await wire.end()
      return good && (await readToEnd(wire))[0] === 0
    }))
    return { same: all.filter(Boolean).length }
  },

  'slow reader': async (open) => {
    const stalled = await open('stall')
    let written = false
    const writing = writePattern(stalled, SLOW_BYTES).then(() => { written = true })
    const others = []
    for (let turn = 0; turn < 3; turn++) {
      others.push(await stillWorks(open))
    }
    const blocked = !written
    const wire = await open('go')
    await wire.end()
    await writing
    await stalled.end()
    return { others, blocked, all: await answer(stalled) }
  }
}

export const protocolOf = protocol
