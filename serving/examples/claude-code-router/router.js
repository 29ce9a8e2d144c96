// claude-code-router asks this for every call: "provider,model", or null for Router.default.
const URL_OF_ROUTER = process.env.ROUTER_URL || "http://127.0.0.1:8080";
const API_KEY = process.env.ROUTER_API_KEY;
const TIMEOUT_MS = Number(process.env.ROUTER_TIMEOUT_MS || 250);

// The provider in the configuration that has the model; the first one where several have it.
function route(config, model) {
  const provider = (config.Providers || []).find((one) => (one.models || []).includes(model));
  return provider ? `${provider.name},${model}` : null;
}

module.exports = async function router(req, config) {
  const models = (config.Providers || []).flatMap((one) => one.models || []);
  const headers = { "content-type": "application/json", "x-router-models": models.join(",") };
  if (API_KEY) headers["x-router-api-key"] = API_KEY;
  const session = req.headers?.["x-claude-code-session-id"] || req.sessionId;
  if (session) headers["x-router-session"] = session;
  try {
    // Under /authz a body is never taken for an envelope, whatever a client writes into it.
    const answer = await fetch(`${URL_OF_ROUTER}/authz/v1/messages`, {
      method: "POST",
      headers,
      body: JSON.stringify(req.body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return answer.ok ? route(config, answer.headers.get("x-routed-model")) : null;
  } catch {
    return null;
  }
};
