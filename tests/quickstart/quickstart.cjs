// Plaid's quickstart flow with Plaid's Node client: link, exchange, and sync with a cursor, against PLAID_BASE_URL.
// Prints the transactions, accounts and Item that this client ends up with, as JSON.
"use strict";

const { Configuration, PlaidApi } = require("plaid");

const baseUrl = process.env.PLAID_BASE_URL;
const rounds = Number(process.env.ROUNDS);
const steps = Number(process.env.STEPS);
const headers = { "PLAID-CLIENT-ID": process.env.PLAID_CLIENT_ID, "PLAID-SECRET": process.env.PLAID_SECRET };
const client = new PlaidApi(
  new Configuration({ basePath: baseUrl, baseOptions: { headers: { ...headers, "Plaid-Version": "2020-09-14" } } }),
);
const pause = () => new Promise((resolve) => setTimeout(resolve, 100));

async function control(path, body) {
  const response = await fetch(`${baseUrl}/_sim${path}`, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function link() {
  const { data: created } = await client.linkTokenCreate({
    user: { client_user_id: "user-1" },
    client_name: "Quickstart",
    products: ["transactions"],
    country_codes: ["US"],
    language: "en",
    transactions: { days_requested: 730 },
  });
  const { public_token } = await control("/link", { link_token: created.link_token }); // the user in Link
  const { data: linked } = await client.itemPublicTokenExchange({ public_token });
  return linked;
}

// Pull all pages from a cursor, apply them once all are here, and return the next cursor.
async function sync(access_token, cursor, rows) {
  const pages = [];
  let next = cursor;
  do {
    const request = next ? { access_token, cursor: next, count: 50 } : { access_token, count: 50 };
    const { data } = await client.transactionsSync(request);
    pages.push(data);
    next = data.next_cursor;
  } while (pages[pages.length - 1].has_more);
  for (const { added, modified, removed } of pages) {
    for (const row of [...added, ...modified]) rows.set(row.transaction_id, row);
    for (const row of removed) rows.delete(row.transaction_id);
  }
  return [next, pages[pages.length - 1].transactions_update_status];
}

async function main() {
  const { access_token, item_id } = await link();
  const rows = new Map();
  let [cursor, status] = ["", ""];
  while (status !== "HISTORICAL_UPDATE_COMPLETE") {
    [cursor, status] = await sync(access_token, cursor, rows);
    await pause();
  }
  for (let round = 1; round <= rounds; round += 1) {
    await control(`/items/${item_id}/evolve`, { steps, seed: round });
    [cursor] = await sync(access_token, cursor, rows);
  }
  const accounts = await client.accountsGet({ access_token });
  const item = await client.itemGet({ access_token });
  console.log(
    JSON.stringify({ rows: [...rows.values()], accounts: accounts.data.accounts, item: item.data.item }),
  );
}

main().catch((error) => {
  console.error(error.response ? error.response.data : error);
  process.exit(1);
});
