defmodule ArqonBrain.Nats.Auth do
  @moduledoc """
  Proves to a NATS server who the Brain is.

  Files are read at every connect, so that a changed secret needs no restart. Errors name the file and never what is in it.
  """

  import Bitwise

  # Of the text forms of keys: the first five bits say what a key is for.
  @seed 18 <<< 3
  @user 20 <<< 3

  @file_bytes_max 65_536

  @doc "What `CONNECT` has to say besides; `nonce` is the server's, if it sent one."
  @spec credentials(ArqonBrain.Config.auth(), binary | nil) :: {:ok, keyword} | {:error, binary}
  def credentials(:none, _nonce), do: {:ok, []}

  def credentials({:password, user, file}, _nonce) do
    with {:ok, password} <- read(file), do: {:ok, [user: user, pass: first_line(password)]}
  end

  def credentials({kind, _file}, nil) when kind in [:nkey, :creds],
    do: {:error, "the server asks for no signature: it is not configured for keys"}

  def credentials({:nkey, file}, nonce) do
    with {:ok, text} <- read(file), {:ok, {public, sign}} <- key(first_line(text), file) do
      {:ok, [nkey: public, sig: sign.(nonce)]}
    end
  end

  def credentials({:creds, file}, nonce) do
    with {:ok, text} <- read(file),
         {:ok, jwt} <- block(text, "NATS USER JWT", file),
         {:ok, seed} <- block(text, "USER NKEY SEED", file),
         {:ok, {_public, sign}} <- key(seed, file) do
      {:ok, [jwt: jwt, sig: sign.(nonce)]}
    end
  end

  @doc "The text form of a user's public key and the seed's 32 bytes, from the text form of the seed."
  @spec decode_seed(binary) :: {:ok, public :: binary, seed :: binary} | :error
  def decode_seed(text) do
    with {:ok, <<head::16, seed::binary-size(32), crc::little-16>> = raw} <-
           Base.decode32(text, padding: false),
         true <- crc == crc16(binary_part(raw, 0, 34)),
         true <- (head >>> 8 &&& 0xF8) == @seed,
         true <- (head >>> 3 &&& 0xFF) == @user do
      {public, _private} = :crypto.generate_key(:eddsa, :ed25519, seed)
      {:ok, encode(<<@user, public::binary>>), seed}
    else
      _other -> :error
    end
  end

  @doc "The checksum of key texts: CRC-16 with the polynomial 0x1021, from 0."
  @spec crc16(binary) :: 0..0xFFFF
  def crc16(bytes),
    do: for(<<byte <- bytes>>, reduce: 0, do: (crc -> crc_byte(bxor(crc, byte <<< 8), 8)))

  defp crc_byte(crc, 0), do: crc

  defp crc_byte(crc, bits) do
    shifted = crc <<< 1 &&& 0xFFFF
    crc_byte(if((crc &&& 0x8000) == 0, do: shifted, else: bxor(shifted, 0x1021)), bits - 1)
  end

  defp encode(raw), do: Base.encode32(<<raw::binary, crc16(raw)::little-16>>, padding: false)

  defp key(text, file) do
    case decode_seed(text) do
      {:ok, public, seed} ->
        sign =
          &Base.url_encode64(:crypto.sign(:eddsa, :none, &1, [seed, :ed25519]), padding: false)

        {:ok, {public, sign}}

      :error ->
        {:error, "#{file}: holds no seed of a user (SU...)"}
    end
  end

  defp read(file) do
    case File.stat(file) do
      {:ok, %{type: :regular, size: size}} when size <= @file_bytes_max -> read_small(file)
      {:ok, _other} -> {:error, "#{file}: is not a file of at most #{@file_bytes_max} bytes"}
      {:error, reason} -> {:error, "#{file}: #{:file.format_error(reason)}"}
    end
  end

  defp read_small(file) do
    case File.read(file) do
      {:ok, text} -> {:ok, text}
      {:error, reason} -> {:error, "#{file}: #{:file.format_error(reason)}"}
    end
  end

  defp first_line(text), do: text |> String.split(["\r\n", "\n"], parts: 2) |> hd()

  defp block(text, name, file) do
    case Regex.run(~r/-+BEGIN #{name}-+\s*([A-Za-z0-9._=-]+?)\s*-+END #{name}-+/, text) do
      [_all, inside] -> {:ok, inside}
      nil -> {:error, "#{file}: holds no block #{name}"}
    end
  end
end
