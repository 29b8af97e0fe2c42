// Shows /openapi.json by Swagger UI, whose files come with the service. A key that the page was given is sent along.

import { keys } from "./api.js";

window.SwaggerUIBundle({
  url: "/openapi.json",
  domNode: document.getElementById("api"),
  deepLinking: true, // each request has an address
  docExpansion: "list",
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // asks nobody else
  requestInterceptor(request) {
    if (keys.get()) request.headers.authorization ??= `Bearer ${keys.get()}`;
    return request;
  },
});
