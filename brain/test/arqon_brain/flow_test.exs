defmodule ArqonBrain.FlowTest do
  @moduledoc "The count of what waits: never less than there is, so that who waits for quiet waits long enough."
  use ExUnit.Case, async: false

  alias ArqonBrain.{Flow, TestClock}

  setup do: Flow.new(1)

  defmodule Slow do
    @moduledoc "Takes its address when it is told to, as a process that is kept waiting by others."
    use GenServer

    @impl true
    def init(test) do
      send(test, {:starts, self()})
      receive do: (:go_on -> :ok)
      Flow.register({:shard, 0})
      {:ok, test}
    end

    @impl true
    def handle_info({:flow, message}, test) do
      send(test, message)
      Flow.done({:shard, 0})
      {:noreply, test}
    end
  end

  test "what is sent while its receiver starts does not make the count too low" do
    test = self()
    starting = Task.async(fn -> GenServer.start(Slow, test) end)
    assert_receive {:starts, pid}
    :ok = Flow.send({:shard, 0}, :early)
    send(pid, :go_on)
    {:ok, ^pid} = Task.await(starting)
    :sys.suspend(pid)
    :ok = Flow.send({:shard, 0}, :later)
    refute Flow.idle?()
    :sys.resume(pid)
    assert_receive :later
    TestClock.settle()
    refute_received :early
    :sys.suspend(pid)
    :ok = Flow.send({:shard, 0}, :last)
    refute Flow.idle?(), "one waits"
    GenServer.stop(pid)
  end

  test "a predecessor's messages count no longer" do
    Flow.register({:shard, 0})
    for i <- 1..3, do: Flow.send({:shard, 0}, i)
    refute Flow.idle?()
    Process.unregister(Flow.name({:shard, 0}))
    Flow.register({:shard, 0})
    assert Flow.idle?()
  end
end
