"""Cards: what the catalog says of a model, its price and its abilities."""

from typing import Literal

from msgspec import Struct

Caching = Literal["none", "automatic", "marked"]
Streaming = Literal["whole", "chunked"]


class PriceTier(Struct, frozen=True, kw_only=True):
    """Prices that hold for the whole call once its input exceeds `above_input_tokens`."""

    above_input_tokens: int
    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None


class ServiceTier(Struct, frozen=True, kw_only=True):
    """Prices that hold for a call sent with this service tier ("batch", "flex", "priority").

    Where `max_input_tokens` is set, a longer call is not served in this tier but in the standard
    one.
    """

    name: str
    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    max_input_tokens: int | None = None


class PriceCard(Struct, frozen=True, kw_only=True):
    """Prices in US dollars per million tokens; a missing cache price means the input price.

    `cache_write_1h` is for prefixes kept an hour; where it is missing, `cache_write` holds.
    """

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    tiers: tuple[PriceTier, ...] = ()
    service_tiers: tuple[ServiceTier, ...] = ()


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a model can do; a flag that is not known for sure is False.

    `forced_tool_choice`: a call may demand "some tool" or a named one; several thinking models
    refuse that. `own_tool_ids_only`: refuses ids of tool calls in another provider's style.
    `ignores_foreign_thinking`: accepts a prefix with other models' thinking and passes over it.
    `shares_thinking`: reads thinking signed by the other models of its provider.
    `tool_call_streaming`: whether a streamed tool call comes whole or in chunks; None: unknown.
    """

    tools: bool = False
    parallel_tools: bool = False
    json_mode: bool = False
    strict_schema: bool = False
    seed: bool = False
    vision: bool = False
    thinking: bool = False
    forced_tool_choice: bool = False
    caching: Caching = "none"
    own_tool_ids_only: bool = False
    ignores_foreign_thinking: bool = False
    shares_thinking: bool = False
    tool_call_streaming: Streaming | None = None


class ModelCard(Struct, frozen=True, kw_only=True):
    """One model that can be chosen. `price` None means unknown, never free.

    `released` is an ISO date. `snapshot` is the id to send to the provider; it names one fixed
    version only where `is_snapshot_pinned`, otherwise it is an alias that the provider may move.
    `max_input_tokens` is set where the input limit is below the context window.
    `min_cache_tokens` is the shortest prefix that the provider caches, `cache_block_tokens` the
    units in which it does, `cache_ttl_s` how long, `long_cache_ttl_s` how long where a marker
    asks for more.
    """

    id: str
    provider: str
    snapshot: str
    family: str
    context_window: int
    max_output_tokens: int
    capabilities: Capabilities = Capabilities()
    price: PriceCard | None = None
    released: str | None = None
    open_weights: bool = False
    aliases: tuple[str, ...] = ()
    min_cache_tokens: int = 1024
    cache_ttl_s: int = 300
    enabled: bool = True
    is_snapshot_pinned: bool = False
    max_input_tokens: int | None = None
    cache_block_tokens: int = 1
    long_cache_ttl_s: int | None = None
