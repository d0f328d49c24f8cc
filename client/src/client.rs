//! The client: typed services over one connection, and the rule for repeating calls.
//!
//! What must hold: a call is repeated only after UNAVAILABLE, OVERLOADED or a failure of the transport, and
//! gives up about ten seconds after it began.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;
use tonic::{Response, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::backoff::Backoff;
use crate::connection::{Credentials, Link};
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::event_service_client::EventServiceClient;
use crate::proto::lock_service_client::LockServiceClient;
use crate::proto::message_service_client::MessageServiceClient;
use crate::proto::path_service_client::PathServiceClient;
use crate::proto::peer_service_client::PeerServiceClient;
use crate::proto::state_service_client::StateServiceClient;
use crate::proto::token_service_client::TokenServiceClient;
use crate::way::{Lane, Way};
use crate::{Chance, ClientError, Config, Token, Watch, WatchOptions};

/// How long after its beginning a call may be repeated.
const RETRY_BUDGET: Duration = Duration::from_secs(10);
/// How long one try may take besides the waiting that the request asks for. Includes starting a broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(45);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// An answer of the broker has at most a few MiB; tonic's default of 4 is too close.
const MAX_ANSWER: usize = 16 << 20;

/// The channel that the generated clients run on: adds the credentials to every request.
pub type Transport = InterceptedService<Way, Credentials>;

/// A connection to a mesh. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    link: Arc<Link>,
    way: Way,
    credentials: Credentials,
    endpoint: Arc<str>,
    chance: Chance,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $service:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(&self) -> $service<Transport> {
            $service::with_interceptor(self.way.clone(), self.credentials.clone())
                .max_decoding_message_size(MAX_ANSWER)
        })*
    };
}

impl Client {
    /// Prepares a client inside a tokio runtime. Connects (and starts a broker) with the first call.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        Self::over(config, None)
    }

    /// As [`Client::new`]; the first call takes a connection that has been made to the broker of the configuration.
    pub fn over(config: Config, made: Option<std::os::unix::net::UnixStream>) -> Result<Self, ClientError> {
        let credentials = Credentials::new(config.token.as_ref())?;
        let endpoint = config.endpoint_name().into();
        let link = Link::new(config, made);
        let way = Way::connection(link.channel()?);
        Ok(Self { way, link, credentials, endpoint, chance: Chance::default() })
    }

    /// As [`Client::new`], over a way of its own to the broker, which counts as there, and with its own randomness.
    pub fn through(config: Config, lane: Lane, chance: Chance) -> Result<Self, ClientError> {
        let credentials = Credentials::new(config.token.as_ref())?;
        let endpoint = config.endpoint_name().into();
        let link = Link::established(config);
        Ok(Self { way: Way::lane(lane), link, credentials, endpoint, chance })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        self.link.config()
    }

    /// The same connection, with calls on behalf of a session.
    pub fn with_session(&self, token: &Token) -> Result<Self, ClientError> {
        Ok(Self { credentials: self.credentials.with_session(token)?, ..self.clone() })
    }

    services! {
        /// Presence.
        peers: PeerServiceClient;
        /// Messages between peers.
        messages: MessageServiceClient;
        /// Entries.
        state: StateServiceClient;
        /// Locks.
        locks: LockServiceClient;
        /// What is known about paths.
        paths: PathServiceClient;
        /// Events, raw; [`Client::watch`] resumes by itself.
        events: EventServiceClient;
        /// Tokens that let others in.
        tokens: TokenServiceClient;
        /// The broker itself.
        admin: AdminServiceClient;
        /// Whether the broker works: the standard service, which has it write and read.
        health: HealthClient;
    }

    /// Follows events; see [`Watch`].
    pub fn watch(&self, options: WatchOptions) -> Watch {
        Watch::new(self, options)
    }

    /// Makes a call, repeating it while the broker is away or overloaded.
    ///
    /// The call must be safe to repeat: a read, or a change whose `request_id` is the same in every try
    /// (see [`request_id`]).
    ///
    /// ```no_run
    /// # async fn example(client: &mesh_client::Client) -> Result<(), mesh_client::ClientError> {
    /// use mesh_client::proto::GetStatusRequest;
    /// let status = client.call(|c| async move { c.admin().get_status(GetStatusRequest {}).await }).await?;
    /// # Ok(()) }
    /// ```
    pub async fn call<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: FnMut(Self) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        self.call_waiting(Duration::ZERO, call).await
    }

    /// As [`Client::call`], for a request that asks the broker to wait that long before it answers.
    pub async fn call_waiting<T, F, Fut>(&self, wait: Duration, mut call: F) -> Result<T, ClientError>
    where
        F: FnMut(Self) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let give_up = Instant::now() + wait + RETRY_BUDGET;
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY, &self.chance);
        loop {
            let Ok(answer) = tokio::time::timeout(wait + ANSWER_WITHIN, call(self.clone())).await else {
                return Err(ClientError::unreachable(&self.endpoint, "no answer in time"));
            };
            let error = match answer {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => self.decode(&status),
            };
            let delay = self.retry_delay(&error, &mut backoff);
            match delay {
                Some(delay) if Instant::now() + delay < give_up => {
                    tracing::debug!(%error, ?delay, "trying again");
                    tokio::time::sleep(delay).await;
                }
                Some(_) | None => return Err(error),
            }
        }
    }

    /// Decodes the status of a call made with a generated client.
    pub fn decode(&self, status: &Status) -> ClientError {
        self.link.explain(ClientError::from_status(status, &self.endpoint))
    }

    /// As [`request_id`], from this client's randomness.
    pub(crate) fn request_id(&self) -> String {
        self.chance.request_id()
    }

    pub(crate) fn chance(&self) -> &Chance {
        &self.chance
    }

    pub(crate) fn worth_waiting(&self) -> bool {
        self.link.worth_waiting()
    }

    /// When to try again, if at all. A start that failed has tried for long and would fail again.
    fn retry_delay(&self, error: &ClientError, backoff: &mut Backoff) -> Option<Duration> {
        match error {
            ClientError::Unreachable { .. } if self.link.worth_waiting() => Some(backoff.next()),
            ClientError::Refused(refusal) if error.is_transient() => {
                Some(backoff.next().max(refusal.retry_after.unwrap_or_default()))
            }
            ClientError::Unreachable { .. }
            | ClientError::Refused(_)
            | ClientError::Untrusted { .. }
            | ClientError::Start { .. }
            | ClientError::Config(_)
            | ClientError::Protocol(_)
            | ClientError::SessionLeft => None,
        }
    }
}

/// A fresh `request_id`: the same for every try of one logical call.
pub fn request_id() -> String {
    Chance::default().request_id()
}
