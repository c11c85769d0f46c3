// Runs requests inside V8 at the word of `cargo bench --bench core -- --v8`: the first line of input
// has the policy and the requests, every further one the number of the request to measure.
import { createInterface } from "node:readline";
import { Vm, milliseconds } from "./host.mjs";

const LONG = 250;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { now, policy, requests } = JSON.parse((await lines.next()).value);
const vm = new Vm(process.argv[2], { now });
vm.configure(policy);
const exchanges = requests.map(({ head, body, answer, status }) => ({
  head,
  body: body ? new TextEncoder().encode(body) : undefined,
  answer: { head: answer },
  status,
}));
for await (const line of lines) console.log(micros(exchanges[Number(line)]));

/** Microseconds of CPU time for each run. */
function micros(exchange) {
  const run = () => {
    const status = vm.exchange(exchange);
    if (status !== exchange.status) throw new Error(`${status}: ${vm.logs.slice(-1)}`);
  };
  for (let i = 0; i < 200; i++) run();
  const before = process.cpuUsage();
  let runs = 0;
  for (;;) {
    for (let i = 0; i < 100; i++) run();
    runs += 100;
    const spent = milliseconds(before);
    if (spent >= LONG) return (spent * 1e3) / runs;
  }
}
