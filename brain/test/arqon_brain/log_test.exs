defmodule ArqonBrain.LogTest do
  use ArqonBrain.BrainCase, async: false

  alias ArqonBrain.{Log, LogTap}

  @moduletag capture_log: true

  test "a crash tells where and why, and nothing of what users have said" do
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
end
