// Shows /api-docs in Swagger UI.
SwaggerUIBundle({ url: "/api-docs", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
