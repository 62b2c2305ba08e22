// One js-libp2p stream, as the suite wants it: reads that wait, and a cut told from an end.

import { createHash } from 'node:crypto'

export const BLOCK = createHash('shake256', { outputLength: 1 << 20 })
  .update('p2psync interop').digest()
export const MIB = 1 << 20
export const BULK_BYTES = 64 * MIB
const PIECE_BYTES = 64 * 1024

export class Cut extends Error {}

export class Wire {
  #stream
  #queue = []
  #how = null
  #wake = null

  // paused: nothing is read from the connection before the first read
  constructor (stream, paused = false) {
    this.#stream = stream
    const over = (how) => {
      this.#how ??= how
      this.#wake?.()
    }
    stream.addEventListener('remoteCloseWrite', () => over('end'))
    stream.addEventListener('close', (event) => over(event.error == null ? 'end' : 'cut'))
    if (paused) {
      stream.pause()
    }
    stream.addEventListener('message', (event) => {
      this.#queue.push(event.data.subarray())
      this.#wake?.()
    })
    if (stream.remoteWriteStatus !== 'writable' && stream.readBufferLength === 0) {
      over('end')
    }
  }

  // Some bytes; null at the end.
  async read () {
    if (this.#stream.readStatus === 'paused') {
      this.#stream.resume()
    }
    while (this.#queue.length === 0) {
      if (this.#how === 'cut') {
        throw new Cut()
      }
      if (this.#how === 'end') {
        return null
      }
      await new Promise((resolve) => { this.#wake = resolve })
    }
    return this.#queue.shift()
  }

  async write (data) {
    try {
      for (let start = 0; start < data.length; start += PIECE_BYTES) {
        if (!this.#stream.send(data.subarray(start, start + PIECE_BYTES))) {
          await this.#stream.onDrain()
        }
      }
    } catch (error) {
      throw new Cut(error.message)
    }
  }

  async end () {
    await this.#stream.close()
  }

  reset () {
    this.#stream.abort(new Error('reset by the test'))
  }
}

export function pattern (start, count) {
  const out = Buffer.alloc(count)
  for (let at = 0; at < count;) {
    const from = (start + at) % BLOCK.length
    at += BLOCK.copy(out, at, from, Math.min(BLOCK.length, from + count - at))
  }
  return out
}

export async function writePattern (wire, count, piece = 256 * 1024) {
  for (let start = 0; start < count; start += piece) {
    await wire.write(pattern(start, Math.min(piece, count - start)))
  }
}

export async function readExactly (wire, count) {
  const parts = []
  let got = 0
  while (got < count) {
    const data = await wire.read()
    if (data == null) {
      throw new Cut('the end came early')
    }
    parts.push(data)
    got += data.length
  }
  if (got !== count) {
    throw new Error(`${got} bytes where ${count} were expected`)
  }
  return Buffer.concat(parts)
}

// How many bytes, their SHA-256, and 'end' or 'cut'.
export async function readToEnd (wire) {
  const digest = createHash('sha256')
  let count = 0
  let how = 'end'
  try {
    for (let data = await wire.read(); data != null; data = await wire.read()) {
      count += data.length
      digest.update(data)
    }
  } catch (error) {
    if (!(error instanceof Cut)) {
      throw error
    }
    how = 'cut'
  }
  return [count, digest.digest('hex'), how]
}
