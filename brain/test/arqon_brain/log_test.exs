defmodule ArqonBrain.LogTest do
  use ArqonBrain.BrainCase, async: false

  alias ArqonBrain.{Log, LogTap}

  @moduletag capture_log: true

  test "a crash tells where and why, and nothing of what users have said" do
    %{filters: filters} = :logger.get_primary_config()
    on_exit(fn -> :logger.set_primary_config(:filters, filters) end)
    Log.keep_reports()
    written = LogTap.start(Log.filters())
    say("s1", {:hello, %{}})
    say("s1", update("acme.a", "s1", [{1, 1}], [{1, "a-private-user"}]))
    assert users("acme.a") == ["a-private-user"]
    shard = Process.whereis(Flow.name({:shard, :erlang.phash2("acme.a", 2)}))
    # No clause fits, so that the stack has the arguments of the call.
    send(shard, {:flow, {:of_no_kind, "a-private-user"}})

    await(fn -> written.() =~ "Shard',handle,3" end)
    assert written.() =~ "function_clause"

    # What its supervisor says of it, which the runtime of the tests keeps back.
    stack = [{Shard, :handle, [%{users: "a-private-user"}], []}]

    said = [
      supervisor: {:local, :sup},
      errorContext: :child_terminated,
      reason: {:function_clause, stack},
      offender: [pid: shard, id: :shard, mfargs: {Shard, :start_link, []}]
    ]

    report = %{label: {:supervisor, :child_terminated}, report: said}
    :logger.error(report, %{report_cb: &:supervisor.format_log/2})
    await(fn -> written.() =~ "child_terminated" end)
    assert length(String.split(written.(), "handle,1")) == 2
    refute written.() =~ "a-private-user"
  end

  @tag :tmp_dir
  test "a reader of the log that has stopped holds nobody up", context do
    took = Path.join(context.tmp_dir, "took")

    code = """
    :ok = ArqonBrain.Log.start(:info)
    {us, _} = :timer.tc(fn -> for _ <- 1..60, do: :logger.error(String.duplicate("x", 4_000)) end)
    File.write!(#{inspect(took)}, Integer.to_string(div(us, 1000)))
    :erlang.halt(0, flush: false)
    """

    # The pipe holds a part of it, and nobody reads.
    ebin = Path.dirname(to_string(:code.which(Log)))
    silent = ~S(mkfifo "$3"; exec 9<>"$3"; elixir -pa "$1" -e "$2" 2>"$3")
    fifo = Path.join(context.tmp_dir, "log")
    {_output, 0} = System.cmd("sh", ["-c", silent, "sh", ebin, code, fifo])
    # A line that waits for the reader takes five seconds.
    assert String.to_integer(File.read!(took)) < 4_000
  end
end
