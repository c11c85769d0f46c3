// A proxy-wasm host (ABI 0.2.1) as small as it can be: enough to run the module that Envoy loads in
// the V8 of Node.js, where its time, its memory and its calls can be measured without a proxy.
import fs from "node:fs";

const OK = 0;
const NOT_FOUND = 1;
const ROOT = 1;
const PLUGIN_CONFIGURATION = 7;
const REQUEST_BODY = 0;
const RESPONSE_BODY = 1;
const REQUEST_HEADERS = 0;
const RESPONSE_HEADERS = 2;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One VM with the module in it; `now`, in seconds, stands in for the clock. */
export class Vm {
  constructor(file, { now } = {}) {
    this.now = now;
    const bytes = fs.readFileSync(file);
    const before = process.cpuUsage();
    const module = new WebAssembly.Module(bytes);
    this.compileMs = milliseconds(before);
    this.bytes = bytes.length;
    this.calls = {};
    this.logs = [];
    this.buffers = {};
    this.maps = {};
    this.counters = new Map();
    this.nextContext = ROOT + 1;
    const own = { env: this.#env(), wasi_snapshot_preview1: this.#wasi() };
    const imports = {};
    for (const { module: space, name } of WebAssembly.Module.imports(module)) {
      imports[space] ??= {};
      const call = own[space]?.[name] ?? (() => NOT_FOUND);
      imports[space][name] = (...args) => {
        this.calls[name] = (this.calls[name] ?? 0) + 1;
        return call(...args);
      };
    }
    this.exports = new WebAssembly.Instance(module, imports).exports;
    this.exports._initialize();
    this.exports.proxy_on_context_create(ROOT, 0);
    this.exports.proxy_on_vm_start(ROOT, 0);
  }

  /** Takes a policy; milliseconds of CPU time, or an error with what the module said. */
  configure(policy) {
    const text = encoder.encode(typeof policy === "string" ? policy : JSON.stringify(policy));
    this.buffers[PLUGIN_CONFIGURATION] = text;
    this.logs = [];
    const before = process.cpuUsage();
    const taken = this.exports.proxy_on_configure(ROOT, text.length);
    const took = milliseconds(before);
    if (!taken) throw new Error(`policy refused: ${this.logs.join("\n")}`);
    return took;
  }

  /**
   * A whole exchange; the status of a refusal, or 200 where the request went on. A body comes in
   * pieces of that many bytes, or at once.
   */
  exchange({ head, body, pieces, answer }) {
    const context = this.nextContext++;
    const { exports } = this;
    this.replied = undefined;
    this.maps[REQUEST_HEADERS] = head;
    exports.proxy_on_context_create(context, ROOT);
    exports.proxy_on_request_headers(context, head.length, body ? 0 : 1);
    const piece = pieces ?? body?.length;
    for (let there = 0; body && there < body.length && this.replied === undefined; ) {
      there = Math.min(body.length, there + piece);
      // The host keeps what has come: the module is told how much that is.
      this.buffers[REQUEST_BODY] = body.subarray(0, there);
      exports.proxy_on_request_body(context, there, there === body.length ? 1 : 0);
    }
    if (this.replied === undefined && answer) {
      this.maps[RESPONSE_HEADERS] = answer.head;
      exports.proxy_on_response_headers(context, answer.head.length, answer.body ? 0 : 1);
      if (answer.body && exports.proxy_on_response_body) {
        this.buffers[RESPONSE_BODY] = answer.body;
        exports.proxy_on_response_body(context, answer.body.length, 1);
      }
    }
    exports.proxy_on_done?.(context);
    exports.proxy_on_log?.(context);
    exports.proxy_on_delete(context);
    return this.replied ?? 200;
  }

  /** Linear memory in bytes; it never shrinks. */
  get memory() {
    return this.exports.memory.buffer.byteLength;
  }

  #view() {
    return new DataView(this.exports.memory.buffer);
  }

  #bytes(at, length) {
    return new Uint8Array(this.exports.memory.buffer, at, length);
  }

  #text(at, length) {
    return decoder.decode(this.#bytes(at, length));
  }

  #give(bytes, at, size) {
    const place = bytes.length ? this.exports.proxy_on_memory_allocate(bytes.length) : 0;
    if (bytes.length) this.#bytes(place, bytes.length).set(bytes);
    this.#view().setUint32(at, place, true);
    this.#view().setUint32(size, bytes.length, true);
    return OK;
  }

  #env() {
    return {
      proxy_log: (level, at, length) => {
        if (level >= 3) this.logs.push(this.#text(at, length));
        return OK;
      },
      proxy_get_buffer_bytes: (kind, start, most, at, size) => {
        const bytes = this.buffers[kind];
        if (!bytes) return NOT_FOUND;
        return this.#give(bytes.subarray(start, Math.min(bytes.length, start + most)), at, size);
      },
      proxy_get_header_map_pairs: (kind, at, size) => {
        const pairs = this.maps[kind];
        return pairs ? this.#give(serialized(pairs), at, size) : NOT_FOUND;
      },
      proxy_get_current_time_nanoseconds: (at) => {
        const milliseconds = this.now === undefined ? Date.now() : this.now * 1e3;
        this.#view().setBigUint64(at, BigInt(milliseconds) * 1_000_000n, true);
        return OK;
      },
      proxy_send_local_response: (status) => {
        this.replied = status;
        return OK;
      },
      proxy_define_metric: (_, at, length, id) => {
        const name = this.#text(at, length);
        const known = this.counters.get(name) ?? { id: this.counters.size + 1, value: 0 };
        this.counters.set(name, known);
        this.#view().setUint32(id, known.id, true);
        return OK;
      },
      proxy_increment_metric: () => OK,
      proxy_add_header_map_value: () => OK,
      proxy_replace_header_map_value: () => OK,
      proxy_remove_header_map_value: () => OK,
      proxy_set_property: () => OK,
      proxy_set_tick_period_milliseconds: () => OK,
      proxy_set_effective_context: () => OK,
      proxy_continue_stream: () => OK,
      proxy_done: () => OK,
    };
  }

  #wasi() {
    return {
      random_get: (at, length) => {
        crypto.getRandomValues(this.#bytes(at, length));
        return OK;
      },
      environ_sizes_get: (count, size) => {
        this.#view().setUint32(count, 0, true);
        this.#view().setUint32(size, 0, true);
        return OK;
      },
      environ_get: () => OK,
      clock_time_get: (_, __, at) => {
        this.#view().setBigUint64(at, process.hrtime.bigint(), true);
        return OK;
      },
      proc_exit: (code) => {
        throw new Error(`the module ended itself with ${code}`);
      },
      fd_write: (_, vectors, count, written) => {
        let total = 0;
        for (let i = 0; i < count; i++) {
          const at = this.#view().getUint32(vectors + 8 * i, true);
          const length = this.#view().getUint32(vectors + 8 * i + 4, true);
          this.logs.push(this.#text(at, length));
          total += length;
        }
        this.#view().setUint32(written, total, true);
        return OK;
      },
    };
  }
}

/** Milliseconds of CPU time that all threads of this process have taken since `process.cpuUsage()`. */
export function milliseconds(before) {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

const maps = new WeakMap();

/** Header fields as the ABI has them: their number, all lengths, all texts with a NUL behind each. */
function serialized(pairs) {
  const known = maps.get(pairs);
  if (known) return known;
  const parts = pairs.flat().map((text) => encoder.encode(text));
  const size = 4 + parts.reduce((sum, part) => sum + 4 + part.length + 1, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, pairs.length, true);
  let at = 4;
  for (const part of parts) {
    view.setUint32(at, part.length, true);
    at += 4;
  }
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length + 1;
  }
  maps.set(pairs, bytes);
  return bytes;
}
