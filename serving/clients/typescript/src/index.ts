/** Asks a router which model is to answer a call, within a time, and reports how it went. */

import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
export type Answer = Schemas["RouteAnswerBody"];
export type Caller = Schemas["CallerBody"];
export type Policy = Schemas["PolicyBody"];
export type Outcome = Schemas["OutcomeBody"];
export type Problem = Schemas["ProblemBody"];
export type WireFormat = NonNullable<Schemas["RouteBody"]["format"]>;
export type { components, paths };

export interface Settings {
  url: string;
  /** An API key of the router, where it asks for one. */
  key?: string;
  /** Milliseconds for the whole question, every try included; 250 if not set. */
  timeoutMs?: number;
  /** The model that answers where the router does not. */
  fallback?: string;
  /** Another `fetch`, for a proxy or a test. */
  fetch?: typeof fetch;
}

export interface Around {
  format?: WireFormat;
  /** The path that the client called; Gemini's names the model. */
  path?: string;
  caller?: Partial<Caller>;
  policy?: Partial<Policy>;
}

export interface Choice {
  decisionId: string;
  model: string;
  fallbacks: readonly string[];
  /** Why this model. */
  reason: string;
  /** All that the router said; null where the fallback answers. */
  answer: Answer | null;
}

/** The router says that this call must not be made: a limit is reached, or no model can take it. */
export class RefusedError extends Error {
  override name = "RefusedError";
  constructor(
    readonly status: number,
    readonly problem: Problem,
    /** Seconds after which another try may help. */
    readonly retryAfterS: number | null,
  ) {
    super(problem.detail);
  }
}

/** The router did not answer, or not with a decision, and there is no fallback. */
export class UnavailableError extends Error {
  override name = "UnavailableError";
}

const REFUSALS = new Set(["no_admissible_model", "limit_exceeded"]);
const BUSY = new Set([502, 503, 504]);
const FIRST_DELAY_MS = 250;
const REPORT_TIMEOUT_MS = 10_000;

export class RouterClient {
  readonly #api: Client<paths>;
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#api = createClient<paths>({
      baseUrl: settings.url,
      ...(settings.fetch ? { fetch: settings.fetch } : {}),
      headers: settings.key ? { "x-router-api-key": settings.key } : {},
    });
  }

  /** The model for a call; `request` is the client's body as it is. All tries are one decision. */
  async route(request: Record<string, unknown>, around: Around = {}): Promise<Choice> {
    const decisionId = around.caller?.decision_id ?? crypto.randomUUID();
    const body = { ...around, request, caller: { ...around.caller, decision_id: decisionId } };
    try {
      const answer = await this.#asked(body as Schemas["RouteBody"]);
      const { model, fallbacks, reason } = answer;
      return { decisionId: answer.decision_id, model, fallbacks, reason, answer };
    } catch (error) {
      const { fallback } = this.#settings;
      if (error instanceof RefusedError || fallback === undefined) throw error;
      const reason = `static_fallback: ${said(error)}`;
      return { decisionId, model: fallback, fallbacks: [], reason, answer: null };
    }
  }

  /** Report outcomes until the router has them on disk; saying one again changes nothing. */
  async report(outcomes: Outcome[], { tenant, tries = 5 }: { tenant?: string; tries?: number } = {}) {
    for (let left = tries, delayMs = FIRST_DELAY_MS; ; left--, delayMs *= 2) {
      const status = await this.#reported(outcomes, tenant);
      if (status === 200) return;
      const isHopeless = status >= 400 && status < 500 && status !== 408 && status !== 429;
      if (left <= 1 || isHopeless) throw new UnavailableError(`outcomes: status ${status}`);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  }

  async #asked(body: Schemas["RouteBody"]): Promise<Answer> {
    const signal = AbortSignal.timeout(this.#settings.timeoutMs ?? 250);
    for (let isLast = false; ; isLast = true) {
      try {
        const { data, error, response } = await this.#api.POST("/route", { body, signal });
        if (data !== undefined) return data;
        if (BUSY.has(response.status) && !isLast) continue;
        throw refusal(response, error);
      } catch (error) {
        if (error instanceof RefusedError || error instanceof UnavailableError) throw error;
        if (isLast || signal.aborted) throw new UnavailableError(said(error), { cause: error });
      }
    }
  }

  /** The status of the answer, 0 without one. */
  async #reported(outcomes: Outcome[], tenant: string | undefined): Promise<number> {
    try {
      const { response } = await this.#api.POST("/outcomes", {
        body: outcomes,
        params: { header: tenant === undefined ? {} : { "x-router-tenant": tenant } },
        signal: AbortSignal.timeout(REPORT_TIMEOUT_MS),
      });
      return response.status;
    } catch {
      return 0;
    }
  }
}

function refusal(response: Response, error: unknown): Error {
  const problem = error as Problem | undefined;
  if (typeof problem?.code !== "string" || !REFUSALS.has(problem.code)) {
    return new UnavailableError(`status ${response.status}: ${problem?.detail ?? "no problem document"}`);
  }
  const after = response.headers.get("retry-after");
  return new RefusedError(response.status, problem, after === null ? null : Number(after));
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
