//! What quinn and TLS report, in the words of this transport's errors.

use quinn::{ConnectionError as Quic, TransportErrorCode, VarInt};
use quipu_merge::AuthorKey;

use super::close::{CloseCode, printable};
use super::error::{AcceptError, ConnectError, ConnectionError, Violation};
use super::identity::Witness;

/// TLS alerts (RFC 8446, section 6) by which a handshake tells why it fails.
mod alert {
    pub const HANDSHAKE_FAILURE: u8 = 40;
    pub const BAD_CERTIFICATE: u8 = 42;
    pub const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub const ACCESS_DENIED: u8 = 49;
    pub const DECRYPT_ERROR: u8 = 51;
    pub const CERTIFICATE_REQUIRED: u8 = 116;
    pub const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// QUIC error codes that are TLS alerts: this, and the alert in the last byte (RFC 9001, 4.8).
const CRYPTO_ERROR: u64 = 0x100;

/// Why a connection ended. `here` is what was put down when this side ended it.
pub(crate) fn of_connection(error: Quic, here: Option<&ConnectionError>) -> ConnectionError {
    match error {
        Quic::ApplicationClosed(close) => ConnectionError::Closed {
            code: CloseCode::from_wire(close.error_code),
            reason: printable(&close.reason),
        },
        Quic::LocallyClosed => here.cloned().unwrap_or(ConnectionError::EndpointClosed),
        Quic::TransportError(error) => match error.code {
            TransportErrorCode::STREAM_LIMIT_ERROR => Violation::Stream.into(),
            TransportErrorCode::INTERNAL_ERROR
            | TransportErrorCode::AEAD_LIMIT_REACHED
            | TransportErrorCode::NO_VIABLE_PATH => ConnectionError::Internal(error.to_string()),
            _ => Violation::Quic(error.to_string()).into(),
        },
        Quic::ConnectionClosed(close) => {
            ConnectionError::Aborted(printable(close.to_string().as_bytes()))
        }
        Quic::TimedOut => ConnectionError::TimedOut,
        Quic::Reset => ConnectionError::Reset,
        error @ (Quic::VersionMismatch | Quic::CidsExhausted) => {
            ConnectionError::Internal(error.to_string())
        }
    }
}

/// Why a node that was dialled is not connected.
pub(crate) fn of_dialling(error: Quic, expected: AuthorKey, witness: &Witness) -> ConnectError {
    if let Some(error) = witness.unsigned.get() {
        return error.clone().into();
    }
    if let Some(&found) = witness.peer.get()
        && found != expected
    {
        return ConnectError::WrongKey { expected, found };
    }
    match (alert_of(&error), &error) {
        (Some(alert::ACCESS_DENIED), _) => ConnectError::NotAllowed,
        (Some(alert::NO_APPLICATION_PROTOCOL), _) | (_, Quic::VersionMismatch) => {
            ConnectError::Protocol
        }
        (
            Some(
                alert::HANDSHAKE_FAILURE
                | alert::BAD_CERTIFICATE
                | alert::UNSUPPORTED_CERTIFICATE
                | alert::CERTIFICATE_REQUIRED,
            ),
            _,
        ) => ConnectError::NoRawKey,
        (Some(alert::DECRYPT_ERROR), Quic::TransportError(_)) => ConnectError::BadKey,
        (_, Quic::ConnectionClosed(close)) if refuses(close.error_code) => ConnectError::TooMany,
        (_, Quic::ApplicationClosed(close)) => match CloseCode::from_wire(close.error_code) {
            CloseCode::NotAllowed => ConnectError::NotAllowed,
            CloseCode::TooMany => ConnectError::TooMany,
            _ => of_connection(error, None).into(),
        },
        (_, Quic::TimedOut) => ConnectError::TimedOut,
        (_, Quic::LocallyClosed) => ConnectError::EndpointClosed,
        _ => of_connection(error, None).into(),
    }
}

/// Why a peer that dialled was not let in.
pub(crate) fn of_accepting(error: Quic, witness: &Witness) -> AcceptError {
    if let Some(error) = witness.unsigned.get() {
        return error.clone().into();
    }
    let ours = matches!(error, Quic::TransportError(_));
    match (alert_of(&error), witness.peer.get()) {
        (Some(alert::ACCESS_DENIED), Some(&key)) if ours => AcceptError::NotAllowed(key),
        (Some(alert::ACCESS_DENIED), _) => AcceptError::WrongKey,
        (Some(alert::NO_APPLICATION_PROTOCOL), _) => AcceptError::Protocol,
        (Some(alert::CERTIFICATE_REQUIRED), _) => AcceptError::NoKey,
        (Some(alert::HANDSHAKE_FAILURE | alert::UNSUPPORTED_CERTIFICATE), _) => {
            AcceptError::NoRawKey
        }
        (Some(alert::BAD_CERTIFICATE | alert::DECRYPT_ERROR), _) if ours => AcceptError::BadKey,
        (_, _) if error == Quic::TimedOut => AcceptError::TimedOut,
        (_, _) => of_connection(error, None).into(),
    }
}

/// Whether the code says that no connection is taken now.
fn refuses(code: TransportErrorCode) -> bool {
    // A node that is about to stop cannot say more before the handshake is done.
    [TransportErrorCode::CONNECTION_REFUSED, TransportErrorCode::APPLICATION_ERROR].contains(&code)
}

/// The alert by which either side ended a handshake.
fn alert_of(error: &Quic) -> Option<u8> {
    let code = match error {
        Quic::TransportError(error) => error.code,
        Quic::ConnectionClosed(close) => close.error_code,
        _ => return None,
    };
    u8::try_from(u64::from(code).checked_sub(CRYPTO_ERROR)?).ok()
}

/// The code by which a connection is closed for breaking the rules, and the words for it.
pub(crate) fn of_violation(violation: &Violation) -> (VarInt, String) {
    (CloseCode::Protocol.to_wire(), violation.to_string())
}
