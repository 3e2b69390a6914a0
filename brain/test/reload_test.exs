defmodule ArqonBrain.ReloadTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias ArqonBrain.{Config, ConfigFixture, Metrics, OsProcess, Reload}

  @moduletag :tmp_dir

  setup context do
    file = Path.join(context.tmp_dir, "brain.config")
    File.write!(file, ConfigFixture.file_text())
    {:ok, config} = Config.load(file)
    Config.put(config)
    level = :logger.get_primary_config().level
    on_exit(fn -> :logger.set_primary_config(:level, level) end)
    {:ok, path: file, config: config}
  end

  defp write(context, replace), do: File.write!(context.path, ConfigFixture.file_text(replace))

  test "what may change is put in force", context do
    write(context, [
      {"{log_level, info}", "{log_level, error}"},
      {"{idle_close_ms, 60000}", "{idle_close_ms, 7}"}
    ])

    assert Reload.reload(context.path) == {:ok, ["log_level", "presence.idle_close_ms"]}
    assert Config.get().presence.idle_close_ms == 7
    assert :logger.get_primary_config().level == :error
    assert Reload.reload(context.path) == {:ok, []}
  end

  test "with anything else, or an error, nothing changes", context do
    for {old, new, expected} <- [
          {"{shards, 2}", "{shards, 3}", "shards can only change with a restart"},
          {"{shards, 2}", "{shards, x}", "shards: must be a whole number"},
          {"]}].", "", "cannot be read"}
        ] do
      write(context, [{"{log_level, info}", "{log_level, error}"}, {old, new}])
      assert {:error, reason} = Reload.reload(context.path)
      assert reason =~ expected
      assert Config.get() == context.config
      refute :logger.get_primary_config().level == :error
    end
  end

  test "a SIGHUP reads the file, and a refusal is logged and counted", context do
    on_exit(fn ->
      :gen_event.delete_handler(:erl_signal_server, Reload, :test)
      :os.set_signal(:sighup, :default)
    end)

    Reload.handle_signals(context.path)
    count = &Metrics.get(:config_reloads_total, result: &1)
    {ok, refused} = {count.(:ok), count.(:refused)}
    write(context, [{"{idle_close_ms, 60000}", "{idle_close_ms, 7}"}])
    hup = fn -> OsProcess.signal(System.pid(), "HUP") end

    log =
      capture_log(fn ->
        hup.()
        OsProcess.wait_until(fn -> count.(:ok) == ok + 1 end, "the reload")
        assert Config.get().presence.idle_close_ms == 7
        write(context, [{"{lease_ms, 6000}", "{lease_ms, 6001}"}])
        hup.()
        OsProcess.wait_until(fn -> count.(:refused) == refused + 1 end, "the refusal")
        assert :gen_event.which_handlers(:erl_signal_server) |> Enum.member?(Reload)
      end)

    assert log =~ "changed: presence.idle_close_ms"
    assert log =~ "presence.lease_ms can only change with a restart"
    assert Config.get().presence.lease_ms == 6_000
  end
end
