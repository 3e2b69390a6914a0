//! `arq pub`.

use arqon_client::PublishOptions;
use arqon_proto::message::Payload;

use crate::cli::Publish;
use crate::failure::Failure;
use crate::runtime_file::RuntimeDir;
use crate::talk::{self, Place};

pub(crate) async fn run(args: &Publish) -> Result<(), Failure> {
    let place = Place::find(&args.access, &RuntimeDir::of_user())?;
    let json = as_json(&args.data);
    let (mut connection, _) = place.open().await?;
    let options = PublishOptions { msg_id: args.msg_id.as_deref(), ..PublishOptions::default() };
    connection.publish(args.room.as_str(), Payload::Json(json.as_bytes()), &options).await?;
    talk::close(connection).await;
    Ok(())
}

/// JSON if it parses, else a string. Written without line breaks between the values, for a frame is one line.
pub(crate) fn as_json(data: &str) -> String {
    // A raw value keeps numbers as they are written; going through f64 would change large ones.
    match serde_json::from_str::<&serde_json::value::RawValue>(data) {
        Ok(raw) => raw.get().replace(['\n', '\r'], " "),
        Err(_) => serde_json::Value::from(data).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_if_it_parses_and_a_string_if_not() {
        for (data, sent) in [
            ("1", "1"),
            ("true", "true"),
            ("null", "null"),
            (r#"{"a": [1, 2]}"#, r#"{"a": [1, 2]}"#),
            ("{\n\"a\": 1\r\n}", r#"{ "a": 1  }"#),
            (" 12345678901234567890123 ", "12345678901234567890123"),
            (r#""text""#, r#""text""#),
            ("hello world", r#""hello world""#),
            ("", r#""""#),
            ("-", r#""-""#),
            ("{not json", r#""{not json""#),
            ("1 2", r#""1 2""#),
            ("two\nlines \"quoted\"", r#""two\nlines \"quoted\"""#),
        ] {
            assert_eq!(as_json(data), sent, "{data:?}");
        }
    }
}
