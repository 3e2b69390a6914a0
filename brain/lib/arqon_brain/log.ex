defmodule ArqonBrain.Log do
  @moduledoc "Where log lines of a served Brain go: one line each on the standard error stream."

  @handler :arqon_brain

  @doc "Replaces what the runtime has set up by itself."
  @spec start(:logger.level()) :: :ok
  def start(level) do
    Enum.each(:logger.get_handler_ids(), &:logger.remove_handler/1)
    keep_reports()

    config = %{
      # As many lines may wait as may be there at all: nobody waits for a reader of the log that has stopped.
      config: %{type: :standard_error, sync_mode_qlen: 200, drop_mode_qlen: 200},
      filters: filters(),
      formatter:
        {:logger_formatter,
         %{
           single_line: true,
           max_size: 4096,
           time_offset: ~c"Z",
           template: [:time, " ", :level, " ", :msg, "\n"]
         }}
    }

    :ok = :logger.add_handler(@handler, :logger_std_h, config)
    level(level)
  end

  @doc """
  Leaves reports of the runtime as they are. From 1.15 on Elixir makes text of them, with all that users have said, before a
  filter of a handler can see them.
  """
  @spec keep_reports() :: :ok
  def keep_reports do
    _ = :logger.remove_primary_filter(:logger_translator)
    :ok
  end

  @doc "What is not written: each start of a process, and what users have said."
  @spec filters() :: [{atom, {(:logger.log_event(), term -> :logger.filter_return()), term}}]
  def filters, do: [progress: {&:logger_filters.progress/2, :stop}, private: {&private/2, nil}]

  # A process that crashes would show its state and its last message, and with them the metadata of users. Where and why it
  # crashed is told once, by its supervisor and by itself.
  defp private(%{msg: {:report, %{label: {:proc_lib, :crash}}}}, nil), do: :stop

  defp private(%{msg: {:report, %{label: {:gen_server, :terminate}} = report}} = event, nil) do
    sealed = %{
      report
      | state: :hidden,
        last_message: :hidden,
        log: [],
        reason: bare(report.reason)
    }

    %{event | msg: {:report, sealed}}
  end

  defp private(
         %{msg: {:report, %{label: {:supervisor, _what}, report: report} = all}} = event,
         nil
       ) do
    report =
      Enum.map(report, fn {key, value} ->
        {key, if(key == :reason, do: bare(value), else: value)}
      end)

    %{event | msg: {:report, %{all | report: report}}}
  end

  defp private(_event, nil), do: :ignore

  # The first frame of a stack may hold the arguments of the call.
  defp bare({reason, [{_module, _function, _arity, _place} | _rest] = stack}) do
    {reason,
     for {module, function, arguments, place} <- stack do
       {module, function, if(is_list(arguments), do: length(arguments), else: arguments), place}
     end}
  end

  defp bare(reason), do: reason

  @doc "Sets from which level on lines are written."
  @spec level(:logger.level()) :: :ok
  def level(level) do
    :ok = :logger.set_primary_config(:level, level)
  end
end
