// Takes webhooks as a receiver of Standard Webhooks does: node receiver.cjs SECRET
//
// Says its port, and then a line for each message that the library of the standard finds authentic;
// any other is answered 401, and told as "forged".
"use strict";
const http = require("node:http");
const { Webhook } = require("standardwebhooks");

const webhook = new Webhook(process.argv[2]);

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    try {
      const told = webhook.verify(Buffer.concat(parts).toString(), request.headers);
      console.log(`${request.headers["webhook-id"]} ${told.type} ${told.data.address}`);
      response.writeHead(204).end();
    } catch (error) {
      console.log(`forged ${error.message}`);
      response.writeHead(401).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
// It ends with whoever started it.
process.stdin.on("end", () => process.exit(0)).resume();
