defmodule ArqonBrain.Clock do
  @moduledoc """
  The door for time: what it is now, and being woken later.

  A process has one alarm for each tag; setting it again replaces it. An alarm may come early or twice, so whoever is woken looks
  at the time.
  """

  @typedoc "Monotonic milliseconds for what lasts, wall clock milliseconds for what others are told."
  @type now :: %{mono_ms: non_neg_integer, wall_ms: non_neg_integer}

  @callback now() :: now
  @callback wake_at(tag :: atom, mono_ms :: non_neg_integer) :: :ok

  @key {__MODULE__, :module}

  @doc "The time."
  @spec now() :: now
  def now, do: module().now()

  @doc "Sends `{:clock, tag}` to the caller when it is `mono_ms`."
  @spec wake_at(atom, non_neg_integer) :: :ok
  def wake_at(tag, mono_ms), do: module().wake_at(tag, mono_ms)

  @doc "Names the module that keeps the time. Called by tests."
  @spec use_module(module) :: :ok
  def use_module(module), do: :persistent_term.put(@key, module)

  defp module, do: :persistent_term.get(@key, ArqonBrain.Clock.System)
end

defmodule ArqonBrain.Clock.System do
  @moduledoc "The time of the machine."

  @behaviour ArqonBrain.Clock

  @impl true
  def now do
    %{mono_ms: mono_ms(), wall_ms: :erlang.system_time(:millisecond)}
  end

  @impl true
  def wake_at(tag, mono_ms) do
    if old = Process.delete({__MODULE__, tag}),
      do: :ok = Process.cancel_timer(old, async: true, info: false)

    timer = Process.send_after(self(), {:clock, tag}, max(mono_ms - mono_ms(), 0))
    Process.put({__MODULE__, tag}, timer)
    :ok
  end

  # Since the virtual machine started: its own monotonic time may be negative.
  defp mono_ms do
    :erlang.convert_time_unit(
      :erlang.monotonic_time() - :erlang.system_info(:start_time),
      :native,
      :millisecond
    )
  end
end
