// What the module costs inside V8, without a proxy:
//
//   cargo run -- module
//   node --no-liftoff --no-wasm-lazy-compilation tests/benches/v8/main.mjs [MODULE] [--million]
//
// The two flags are how Envoy runs V8: everything is compiled by the optimising compiler at once.
// Times are CPU times, so that they hold on a busy machine.
// Nothing here verifies signatures through a host, so tokens cost what they cost in Wasm alone.
import { createSign, generateKeyPairSync } from "node:crypto";
import { Vm, milliseconds } from "./host.mjs";

const named = process.argv.slice(2).find((arg) => !arg.startsWith("--"));
const MODULE = named ?? "target/forecourt.wasm";
const ISSUER = "https://issuer.example";

const rsa = keyPair("RS256", "rsa", { modulusLength: 2048 });
const ec = keyPair("ES256", "ec", { namedCurve: "P-256" });
const rows = [];

const first = new Vm(MODULE);
row("module", `${(first.bytes / 1e6).toFixed(2)} MB`);
row("compiled by V8", `${first.compileMs.toFixed(0)} ms of CPU time`);
row("linear memory, no policy", mebibytes(first.memory));

walk("demo-sized policy", demo(), []);
walk("1,000 routes, 100 schemas", large(1_000, 100), []);

const demoVm = vm(demo());
const order = encode(body(1_024));
const encode16 = encode(body(16_384));
const tokens = fresh(rsa, 2_000);
measure(demoVm, "public route", 20_000, () => get("/products/1"));
measure(demoVm, "warm token", 20_000, () => get("/me", tokens[0]));
measure(demoVm, "RS256 verified in Wasm", 1_000, (i) => get("/me", tokens[i + 1]));
const es = fresh(ec, 1_200);
measure(demoVm, "ES256 verified in Wasm", 1_000, (i) => get("/me", es[i]));
measure(demoVm, "1 kB JSON body, public", 20_000, () => post("/orders", order));
measure(demoVm, "16 kB JSON body, public", 2_000, () => post("/orders", encode16));
calls(demoVm, "a public request", () => get("/products/1"));
calls(demoVm, "an allowed warm request", () => get("/me", tokens[0]));
if (process.argv.includes("--million")) million();

console.log("| in V8 | |\n|---|---|");
for (const [what, how] of rows) console.log(`| ${what} | ${how} |`);

function row(what, how) {
  rows.push([what, how]);
}

function walk(name, policy) {
  const times = [];
  let memory;
  for (let i = 0; i < 3; i++) {
    const vm = new Vm(MODULE);
    times.push(vm.configure(policy));
    memory = vm.memory;
  }
  row(`${name}: taken`, `${Math.min(...times).toFixed(0)} ms`);
  row(`${name}: linear memory`, mebibytes(memory));
}

function vm(policy) {
  const vm = new Vm(MODULE);
  vm.configure(policy);
  return vm;
}

function measure(vm, name, times, request) {
  const exchanges = Array.from({ length: times }, (_, i) => request(i));
  for (const exchange of exchanges.slice(0, times / 10)) expect(vm, exchange);
  const before = process.cpuUsage();
  for (const exchange of exchanges.slice(times / 10)) expect(vm, exchange);
  const each = (milliseconds(before) * 1e3) / (times * 0.9);
  row(name, `${each.toFixed(1)} µs`);
}

function expect(vm, exchange) {
  const status = vm.exchange(exchange);
  if (status !== 200) throw new Error(`${status}: ${vm.logs.slice(-1)}`);
}

/** How many calls to the host one exchange makes once everything has been seen before. */
function calls(vm, name, request) {
  const head = request();
  expect(vm, head);
  vm.calls = {};
  expect(vm, { ...head, answer: undefined });
  row(`host calls for ${name}`, listed(vm.calls));
  vm.calls = {};
  expect(vm, head);
  row(`host calls for ${name} and its answer`, listed(vm.calls));
}

function listed(calls) {
  const total = Object.values(calls).reduce((sum, count) => sum + count, 0);
  const names = Object.entries(calls).map(([name, count]) => `${name.replace("proxy_", "")} ${count}`);
  return `${total} (${names.join(", ")})`;
}

/** Memory over a million requests of every kind, good and bad: once warm it does not grow. */
function million() {
  const WARM = 200_000;
  const million = vm(demo());
  const order64 = encode(body(64_000));
  const large = encode(body(200_000));
  const kinds = [
    [() => get("/products/1"), 200],
    [() => get("/nowhere"), 404],
    [() => get("/me"), 401],
    [() => get("/me", tokens[0]), 200],
    [() => get("/me", "a.b.c"), 401],
    [(i) => get(`/me?at=${i}`, `${tokens[0]}${i}`), 401],
    [() => post("/orders", order), 200],
    [() => ({ ...post("/orders", order), pieces: 100 }), 200],
    [() => post("/orders", encode("{")), 400],
    [() => post("/orders", encode("[".repeat(5_000))), 400],
    [() => post("/orders", encode(`{"customer":"c-000042","currency":"EUR","items":[]}`)), 400],
    [() => post("/orders", encode16), 200],
    // Longer than any request: the head alone says so, or the pieces do.
    [() => post("/orders", large), 413],
    [() => ({ ...post("/orders", large), head: chunked("/orders"), pieces: 4_096 }), 413],
  ];
  // Dearer ones, less often: tokens new to the cache, which they fill many times over, and the
  // largest bodies.
  const rare = [
    [(i) => get("/me", tokens[i % tokens.length]), 200],
    [() => ({ ...post("/orders", order64), pieces: 8_192 }), 200],
  ];
  const seen = new Set();
  let warm;
  for (let i = 0; i < 1_000_000; i++) {
    const turn = Math.floor(i / 50);
    const [request, wanted] = i % 50 === 0 ? rare[turn % rare.length] : kinds[i % kinds.length];
    const status = million.exchange(request(turn));
    if (status !== wanted) throw new Error(`${status} instead of ${wanted}: ${million.logs.slice(-1)}`);
    seen.add(status);
    million.logs.length = 0;
    if (i === WARM) warm = million.memory;
  }
  row(`linear memory after ${WARM} and 1,000,000 mixed requests (${[...seen].sort().join(", ")})`, `${mebibytes(warm)}, ${mebibytes(million.memory)}`);
  if (million.memory !== warm) {
    process.exitCode = 1;
    console.error(`linear memory grew by ${million.memory - warm} bytes once it was warm`);
  }
}

function demo() {
  return {
    version: "forecourt/v1",
    issuers: {
      shop: {
        issuer: ISSUER,
        audiences: ["shop"],
        algorithms: ["RS256", "ES256"],
        jwks: { inline: { keys: [rsa.jwk, ec.jwk] } },
      },
    },
    schemas: { Order: orderSchema() },
    routes: [
      { match: { methods: ["GET"], path: "/products/{id}" }, access: "public", cache: { ttl: "5m" } },
      { match: { path: "/me" }, access: { anyOf: ["shop"], forward: { claims: { sub: "x-user-id" } } } },
      {
        match: { methods: ["POST"], path: "/orders" },
        access: "public",
        request: { body: { schema: { $ref: "#/schemas/Order" } } },
      },
    ],
  };
}

function large(routes, schemas) {
  const named = {};
  for (let i = 0; i < schemas; i++) named[`Order${i}`] = dense(i);
  return {
    version: "forecourt/v1",
    schemas: named,
    routes: Array.from({ length: routes }, (_, i) => ({
      match: { methods: ["POST"], path: `/api/v${i % 3}/things${i}/{id}/parts` },
      access: "public",
      request: { body: { schema: { $ref: `#/schemas/Order${i % schemas}` } } },
    })),
  };
}

/** A schema of the size that APIs have: some forty subschemas, patterns and formats among them. */
function dense(i) {
  const text = { type: "string", minLength: 1, maxLength: 200 };
  const address = {
    type: "object",
    required: ["street", "city", "country"],
    properties: {
      street: text,
      city: text,
      country: { type: "string", pattern: "^[A-Z]{2}$" },
      postcode: { type: "string", pattern: `^[0-9A-Z -]{3,${10 + (i % 5)}}$` },
    },
  };
  const properties = {
    [`id${i}`]: { type: "string", format: "uuid" },
    created: { type: "string", format: "date-time" },
    email: { type: "string", format: "email" },
    sku: { type: "string", pattern: `^[A-Z]{3}-[0-9]{${4 + (i % 3)}}$` },
    status: { enum: ["new", "paid", "sent", "done", `state${i}`] },
    shipping: address,
    billing: address,
    lines: {
      type: "array",
      maxItems: 100,
      items: {
        type: "object",
        required: ["sku", "quantity"],
        properties: {
          sku: { type: "string", pattern: "^[A-Z]{3}-[0-9]{4}$" },
          quantity: { type: "integer", minimum: 1, maximum: 100 },
          price: { type: "number", minimum: 0 },
          note: text,
        },
      },
    },
    payment: {
      oneOf: [
        { type: "object", required: ["card"], properties: { card: { type: "string", pattern: "^[0-9]{12,19}$" } } },
        { type: "object", required: ["iban"], properties: { iban: { type: "string", minLength: 15 } } },
      ],
    },
  };
  return { type: "object", required: [`id${i}`, "lines"], additionalProperties: false, properties };
}

function orderSchema() {
  return {
    type: "object",
    required: ["customer", "currency", "items"],
    additionalProperties: false,
    properties: {
      customer: { type: "string", pattern: "^c-[0-9]{6}$" },
      currency: { enum: ["EUR", "USD", "GBP"] },
      items: {
        type: "array",
        minItems: 1,
        items: {
          type: "object",
          required: ["sku", "quantity", "price"],
          additionalProperties: false,
          properties: {
            sku: { type: "string", pattern: "^[A-Z]{3}-[0-9]{4}$" },
            quantity: { type: "integer", minimum: 1, maximum: 100 },
            price: { type: "number", minimum: 0 },
          },
        },
      },
    },
  };
}

function body(bytes) {
  const items = [];
  for (;;) {
    items.push({ sku: "ABC-0001", quantity: 1 + (items.length % 100), price: 19.99 });
    const text = JSON.stringify({ customer: "c-000042", currency: "EUR", items });
    if (text.length >= bytes) return text;
  }
}

function encode(text) {
  return new TextEncoder().encode(text);
}

function get(path, token) {
  const head = [[":method", "GET"], [":path", path], [":authority", "shop.example"], [":scheme", "https"], ["accept", "*/*"]];
  if (token) head.push(["authorization", `Bearer ${token}`]);
  return { head, answer: answered() };
}

function post(path, bytes) {
  const head = [
    [":method", "POST"],
    [":path", path],
    [":authority", "shop.example"],
    [":scheme", "https"],
    ["content-type", "application/json"],
    ["content-length", `${bytes.length}`],
  ];
  return { head, body: bytes, answer: answered() };
}

/** The head of a POST that does not say how long it is. */
function chunked(path) {
  return post(path, new Uint8Array()).head.filter(([name]) => name !== "content-length");
}

function answered() {
  return { head: [[":status", "200"], ["content-type", "application/json"], ["content-length", "1000"]] };
}

function keyPair(alg, kind, options) {
  const { publicKey, privateKey } = generateKeyPairSync(kind, options);
  const jwk = { ...publicKey.export({ format: "jwk" }), kid: alg, alg, use: "sig" };
  return { alg, privateKey, jwk };
}

function fresh(key, count) {
  const now = Math.floor(Date.now() / 1000);
  return Array.from({ length: count }, (_, i) => {
    const claims = { iss: ISSUER, aud: "shop", sub: `user-${i}`, iat: now, exp: now + 3600 };
    const text = [{ alg: key.alg, kid: key.alg }, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    const signature = createSign("SHA256")
      .update(text)
      .sign({ key: key.privateKey, dsaEncoding: "ieee-p1363" });
    return `${text}.${signature.toString("base64url")}`;
  });
}

function mebibytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(2)} MiB`;
}
