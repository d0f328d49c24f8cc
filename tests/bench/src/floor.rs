//! The least that an adapter can be: an MCP server of rmcp with one tool, which makes one call to a bare tonic server.
//! It finds nobody, joins nothing, and tells no news.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ServerHandler, ServiceExt as _};
use tokio::sync::Mutex;

use crate::echo::EchoCaller;
use crate::system::Caller as _;

/// The one tool.
pub(crate) const TOOL: &str = "echo";

#[derive(Clone, Debug)]
struct Floor {
    echo: Arc<Mutex<EchoCaller>>,
}

impl ServerHandler for Floor {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("floor", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![tool()]))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        (name == TOOL).then(tool)
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let called = self.echo.lock().await.call(0).await;
        called.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(CallToolResult::success(vec![ContentBlock::text("done")]).into())
    }
}

fn tool() -> Tool {
    let mut schema = JsonObject::new();
    schema.insert("type".into(), "object".into());
    Tool::new(TOOL, "Make one call", schema)
}

/// Serves MCP on standard input and output, on one thread, until the input ends.
pub(crate) fn serve(socket: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let floor = Floor { echo: Arc::new(Mutex::new(EchoCaller::over(socket))) };
        let running = floor.serve(rmcp::transport::stdio_pipes()).await.context("no client")?;
        running.waiting().await?;
        Ok(())
    });
    runtime.shutdown_background();
    outcome
}
