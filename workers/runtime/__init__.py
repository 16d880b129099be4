"""The machine of one worker process.

    broker ──deliveries──▶ intake ──claims──▶ outbox ──batches over HTTP──▶ gateway
                             │  ▲               ▲                            │
                 accepted: start└───answers─────┼────────────────────────────┘
                             ▼                  │
                          executor ──ends and progress
                  async │ threads │ processes

`intake` fills the free slots, `outbox` is the only thing that talks to the gateway, `executor` runs handlers and says
how each attempt ended, `heartbeat` tells the orchestrators that we live and brings their wishes. `worker` ties them
together and drains them. Pure parts: `lanes`, `pipeline`, `recent`, `outcome`.
"""
