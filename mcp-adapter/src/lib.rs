//! mcp-adapter
