// Starts Swagger UI on #api. A request that is tried out with the session carries the session's CSRF token.
"use strict";

(() => {
  const place = document.getElementById("api");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", colour);
  colour();
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  window.SwaggerUIBundle({
    domNode: place,
    url: place.dataset.description,
    deepLinking: true,
    validatorUrl: null, // no third party is told what is looked at
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    requestInterceptor: (request) => {
      const own = new URL(request.url, location.href).origin === location.origin;
      if (token && own && !request.headers.Authorization) {
        request.headers["X-CSRF-Token"] = token;
      }
      return request;
    },
  });
})();
