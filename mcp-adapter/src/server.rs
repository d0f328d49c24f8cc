//! The MCP server: what clients ask is answered here or handed to a tool.
//!
//! What must hold: only what is no call at all (an unknown tool) is a protocol error; whatever goes wrong in a
//! tool is a result that the model can read. Waiting ends when the client cancels, and when the process ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
    SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError, SubscriptionContext};
use rmcp::{ServerHandler, ServiceExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::args::{Answer, Args, Failure};
use crate::host::Host;
use crate::member::{Caller, Member};
use crate::news::Reached;
use crate::stdio::Watched;
use crate::{Options, events, locks, mail, memory, presence, schema, unlock};

/// Longest wait of a tool: clients give up after about a minute.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(50);
/// How long calls may go on being answered after the input has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// How long clients may keep the list of tools, which never changes while the process runs.
const LIST_TTL_MS: u64 = 3_600_000;

/// The MCP server of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    member: Arc<Member>,
    tools: Arc<[Tool]>,
    legacy: bool,
    /// Cancelled when the input ends.
    closing: CancellationToken,
}

/// One tool call.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the tool is asked.
    pub(crate) args: Args,
    /// Who asks.
    pub(crate) caller: Caller,
    cancelled: CancellationToken,
    closing: CancellationToken,
}

impl Call {
    /// How long to wait, as asked, within the bound.
    pub(crate) fn wait(&self) -> Result<Duration, Failure> {
        self.span("wait_seconds")
    }

    /// A span to wait that goes by another name, within the same bound.
    pub(crate) fn span(&self, name: &str) -> Result<Duration, Failure> {
        Ok(self.args.span(name)?.unwrap_or_default().min(LONGEST_WAIT))
    }

    /// The outcome of `work`, unless nobody waits for it any longer.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            outcome = work => Some(outcome),
            () = self.cancelled.cancelled() => None,
            () = self.waiting_ends() => None,
        }
    }

    /// After the end of the input only calls that wait are stopped; the others have their answers sent.
    async fn waiting_ends(&self) {
        let spans = ["wait_seconds", "wait_reply_seconds"].map(|name| self.span(name).unwrap_or_default());
        if spans.iter().any(|span| !span.is_zero()) || self.args.raw("until").is_some() {
            self.closing.cancelled().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

impl Adapter {
    /// An adapter that has not touched the broker.
    pub(crate) fn new(options: Options, host: Host) -> anyhow::Result<Self> {
        let legacy = options.legacy;
        let member = Arc::new(Member::new(options, host)?);
        Ok(Self { member, tools: schema::tools().into(), legacy, closing: CancellationToken::new() })
    }

    /// Runs a tool; `None` if there is none of this name.
    async fn call(&self, name: &str, call: &Call) -> Option<Answer> {
        let joined = match name {
            "mesh_checkin" => return Some(presence::checkin(&self.member, call).await),
            "mesh_checkout" => return Some(presence::checkout(&self.member).await),
            _ if self.get_tool(name).is_none() => return None,
            _ => self.member.joined(&call.caller).await,
        };
        let joined = match joined {
            Ok(joined) => joined,
            Err(failure) => return Some(Err(failure)),
        };
        Some(match name {
            "mesh_who" => presence::who(&joined, call).await,
            "mesh_send" => mail::send(&joined, call).await,
            "mesh_inbox" => mail::inbox(&joined, call).await,
            "mesh_remember" => memory::remember(&joined, call).await,
            "mesh_recall" => memory::recall(&joined, call).await,
            "mesh_lock" => locks::lock(&joined, call).await,
            "mesh_unlock" => unlock::unlock(&joined, call).await,
            "mesh_locks" => locks::locks(&joined, call).await,
            "mesh_events" => events::events(&joined, call).await,
            "mesh_status" => presence::status(&joined).await,
            _ => return None,
        })
    }
}

impl ServerHandler for Adapter {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("mesh", env!("CARGO_PKG_VERSION")))
            .with_instructions(schema::INSTRUCTIONS)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(if self.legacy {
            ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25)
        } else {
            ProtocolVersion::KNOWN_VERSIONS
        })
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()).with_ttl_ms(LIST_TTL_MS))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = Call {
            args: Args::new(request.arguments),
            caller: Caller { client: context.client_info(), meta: context.meta },
            cancelled: context.ct,
            closing: self.closing.clone(),
        };
        let Some(answer) = self.call(&request.name, &call).await else {
            let names: Vec<_> = self.tools.iter().map(|tool| tool.name.as_ref()).collect();
            let message = format!("there is no tool {:?}; there are {}", request.name, names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let content =
            |text: &str, reached| vec![ContentBlock::text(text.to_owned() + &self.member.footer(reached))];
        let result = match answer {
            Ok(text) => CallToolResult::success(content(&text, Reached::Yes)),
            Err(failure) => CallToolResult::error(content(failure.text(), Reached::Unknown)),
        };
        Ok(result.into())
    }

    /// Nothing here ever changes by itself, but clients that ask should not have to ask again.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        tokio::select! {
            () = context.cancelled() => {}
            () = self.closing.cancelled() => {}
        }
        Ok(())
    }
}

/// Serves one client until its requests end or `signal` comes, then leaves the mesh.
pub(crate) async fn serve<R, W>(
    adapter: Adapter,
    input: R,
    output: W,
    signal: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let member = adapter.member.clone();
    let closing = adapter.closing.clone();
    let transport = (Watched::new(input, closing.clone()), output);
    let drained = async {
        closing.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let served = async {
        match adapter.serve(transport).await {
            Ok(running) => running.waiting().await.map(drop).context("serving MCP failed"),
            // A client that goes away without a word is as good as one that says nothing more.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(error).context("the client does not speak MCP"),
        }
    };
    let outcome = tokio::select! {
        outcome = served => outcome,
        () = drained => Ok(()),
        () = signal => Ok(()),
    };
    member.end().await;
    outcome
}
