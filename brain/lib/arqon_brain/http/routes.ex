defmodule ArqonBrain.Http.Routes do
  @moduledoc "What the admin port answers. Bodies are those of the Shield's admin port."

  alias ArqonBrain.{Health, Json, Metrics}

  @json "application/json"
  @paths ["/health/live", "/health/ready", "/metrics"]

  @type answer :: {status :: pos_integer, type :: binary, body :: iodata}

  @doc "The answer to one request."
  @spec answer(atom | binary, binary) :: answer
  def answer(method, path) when method in [:GET, :HEAD] do
    case path |> String.split("?", parts: 2) |> hd() do
      "/health/live" ->
        {200, @json, Json.encode(live: true)}

      "/health/ready" ->
        ready(Health.readiness())

      "/metrics" ->
        {200, "text/plain; version=0.0.4; charset=utf-8", Metrics.render()}

      _other ->
        {404, @json, Json.encode(error: "no such path on the admin port", paths: @paths)}
    end
  end

  def answer(_method, _path), do: {405, @json, Json.encode(error: "only GET and HEAD")}

  defp ready(%{ready: ready, degraded: degraded, checks: checks}) do
    checks =
      for check <- checks,
          do: [name: check.name, ok: check.ok, optional: check.optional, reason: check.reason]

    {if(ready, do: 200, else: 503), @json,
     Json.encode(ready: ready, degraded: degraded, checks: checks)}
  end
end
