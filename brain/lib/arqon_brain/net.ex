defmodule ArqonBrain.Net do
  @moduledoc "Hosts as they stand in the configuration, as the sockets of OTP want them."

  @doc "A name as it is, an address as one, with the option for its kind."
  @spec host(binary) :: {:inet.hostname() | :inet.ip_address(), :inet | :inet6}
  def host(host) do
    text = String.to_charlist(host)

    case :inet.parse_address(text) do
      {:ok, address} when tuple_size(address) == 8 -> {address, :inet6}
      {:ok, address} -> {address, :inet}
      {:error, :einval} -> {text, :inet}
    end
  end

  @doc "What an error of a socket means, for a person."
  @spec reason(term) :: binary
  def reason(:closed), do: "the connection was closed"
  def reason(:timeout), do: "no answer in time"

  def reason(reason) when is_atom(reason) do
    case to_string(:inet.format_error(reason)) do
      "unknown POSIX error" <> _rest -> Atom.to_string(reason)
      message -> message
    end
  end

  def reason(reason), do: inspect(reason)
end
