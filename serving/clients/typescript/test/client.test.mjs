// Against a real router at ROUTER_URL, and against a server that fails on purpose.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { RefusedError, RouterClient, UnavailableError } from "../dist/index.js";

const url = process.env.ROUTER_URL;
assert.ok(url, "ROUTER_URL: the address of a running router");
const BODIES = JSON.parse(process.env.ROUTER_BODIES);
const patient = { url, timeoutMs: 20_000 };

/** Runs `use` with a server that says these answers, [status, content], one after another. */
async function scripted(answers, use) {
  const asked = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (piece) => (text += piece));
    request.on("end", () => {
      asked.push(JSON.parse(text));
      const next = answers.shift();
      if (next === undefined) return; // never answers
      if (next[0] === 0) return request.socket.destroy();
      response.writeHead(next[0], { "content-type": "application/json", "retry-after": "7" });
      response.end(JSON.stringify(next[1]));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`, asked);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

for (const [format, body] of Object.entries(BODIES)) {
  test(`a ${format} body is decided, named or not`, async () => {
    const client = new RouterClient(patient);
    const named = await client.route(body, { format, caller: { tenant: "ts" } });
    assert.equal(named.model, (await client.route(body)).model);
    assert.equal(named.answer.provider.length > 0, true);
  });
}

test("one decision_id is one decision, with the limits of the call", async () => {
  const client = new RouterClient(patient);
  const body = BODIES["openai.chat"];
  const first = await client.route(body, { caller: { tenant: "ts" } });
  const caller = { tenant: "ts", decision_id: "ts-1" };
  const limited = { caller, policy: { models: [first.fallbacks[0]] } };
  const choices = [await client.route(body, limited), await client.route(body, limited)];
  assert.deepEqual(choices[0], choices[1]);
  assert.deepEqual([choices[0].model, choices[0].decisionId], [first.fallbacks[0], "ts-1"]);
});

test("outcomes arrive once they are acknowledged", async () => {
  const client = new RouterClient(patient);
  const { decisionId, model } = await client.route(BODIES["anthropic.messages"]);
  await client.report([{ decision_id: decisionId, model, adequate: true, attempt: 0 }]);
  const hopeless = client.report([{ decision_id: decisionId, model, reward: "much" }]);
  await assert.rejects(hopeless, UnavailableError);
});

test("a call that no model can take is refused, whatever the fallback", async () => {
  const client = new RouterClient({ ...patient, fallback: "mini" });
  const policy = { max_cost_usd: 1e-12 };
  await assert.rejects(client.route(BODIES["openai.chat"], { policy }), (error) => {
    assert.ok(error instanceof RefusedError);
    assert.equal(error.problem.code, "no_admissible_model");
    return error.status === 409;
  });
});

test("a body that the router does not understand is no decision", async () => {
  const client = new RouterClient(patient);
  await assert.rejects(client.route({ messages: 7 }), /status 422: request\.messages: got 7/);
});

test("a busy router or a lost answer is asked once more by the same id", async () => {
  const decided = [200, { decision_id: "d", model: "large", fallbacks: [], reason: "" }];
  for (const failed of [[503, {}], [0]]) {
    await scripted([failed, decided], async (at, asked) => {
      const choice = await new RouterClient({ url: at, timeoutMs: 5_000 }).route({ a: 1 });
      assert.equal(choice.model, "large");
      assert.deepEqual(asked[0], asked[1]);
    });
  }
});

test("without a decision the fallback answers and says why", async () => {
  const cases = [
    [[[503, {}], [503, {}]], /status 503/],
    [[[500, { code: "internal_error", detail: "oh" }]], /status 500: oh/],
    [[], /aborted|timeout/i],
  ];
  for (const [answers, reason] of cases) {
    await scripted([...answers], async (at) => {
      const choice = await new RouterClient({ url: at, fallback: "mini", timeoutMs: 200 }).route({});
      assert.deepEqual([choice.model, choice.answer], ["mini", null]);
      assert.match(choice.reason, reason);
    });
    await scripted([...answers], async (at) => {
      const without = new RouterClient({ url: at, timeoutMs: 200 });
      await assert.rejects(without.route({}), UnavailableError);
    });
  }
  const gone = new RouterClient({ url: "http://127.0.0.1:9", fallback: "mini" });
  assert.equal((await gone.route({})).model, "mini");
});

test("a limit says when another try may help", async () => {
  const problem = { code: "limit_exceeded", detail: "budget: spent" };
  await scripted([[429, problem]], async (at) => {
    const client = new RouterClient({ url: at, fallback: "mini", timeoutMs: 5_000 });
    await assert.rejects(client.route({}), (error) => {
      assert.deepEqual([error.status, error.retryAfterS], [429, 7]);
      return error instanceof RefusedError;
    });
  });
});

test("outcomes are said again until they are taken", async () => {
  await scripted([[503, {}], [200, { accepted: 1, unmatched: [] }]], async (at, asked) => {
    await new RouterClient({ url: at }).report([{ decision_id: "d", model: "m", attempt: 0 }]);
    assert.equal(asked.length, 2);
  });
});
