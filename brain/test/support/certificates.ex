defmodule ArqonBrain.Certificates do
  @moduledoc "Certificates for tests: an authority and one certificate by it, as files."

  @subject_alternative_names {2, 5, 29, 17}

  @doc "Makes them; `names` are pairs as of a certificate's alternative names."
  def make(folder, label, names) do
    names = {:Extension, @subject_alternative_names, false, names}
    key = {:namedCurve, :secp256r1}
    sign = [key: key, digest: :sha256]
    chain = %{root: sign, intermediates: [], peer: [extensions: [names]] ++ sign}
    made = :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})
    # The server's authority is the one that its clients trust.
    server = made.server_config
    path = fn name -> Path.join(folder, "#{label}-#{name}.pem") end

    files = %{ca_file: path.("ca"), cert_file: path.("cert"), key_file: path.("key")}
    {key_type, key_der} = server[:key]
    write(files.ca_file, for(der <- made.client_config[:cacerts], do: {:Certificate, der}))
    write(files.cert_file, [{:Certificate, server[:cert]}])
    write(files.key_file, [{key_type, key_der}])
    files
  end

  defp write(file, entries) do
    File.write!(
      file,
      :public_key.pem_encode(for {type, der} <- entries, do: {type, der, :not_encrypted})
    )
  end
end
