defmodule ArqonBrain.Log do
  @moduledoc "Where log lines of a served Brain go: one line each on the standard error stream."

  @handler :arqon_brain

  @doc "Replaces what the runtime has set up by itself."
  @spec start(:logger.level()) :: :ok
  def start(level) do
    Enum.each(:logger.get_handler_ids(), &:logger.remove_handler/1)

    config = %{
      config: %{type: :standard_error},
      # Each start of a process would be a line.
      filters: [progress: {&:logger_filters.progress/2, :stop}],
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

  @doc "Sets from which level on lines are written."
  @spec level(:logger.level()) :: :ok
  def level(level) do
    :ok = :logger.set_primary_config(:level, level)
  end
end
