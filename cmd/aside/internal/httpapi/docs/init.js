SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#ui",
  tryItOutEnabled: true,
  displayRequestDuration: true,
  deepLinking: true,
  // The validator badge would send the document to another site.
  validatorUrl: null,
});
