// The theme asks `mermaid` for its diagrams, and would fetch it from the internet. It is here, and loaded where it is needed.
(() => {
  const SOURCE = new URL("vendor/mermaid/mermaid.tiny.js", document.currentScript.src);
  const SMALLEST = 0.5; // of its own size: a diagram that is wider than the page is scrolled, not shrunk until nobody reads it
  let settings = {};
  let loading;
  const load = () =>
    (loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = SOURCE;
      script.onload = () => {
        globalThis.mermaid.initialize(settings);
        resolve(globalThis.mermaid);
      };
      script.onerror = reject;
      document.head.append(script);
    }));
  // With the causes of thirty steps in it, the states' diagram is five pages wide. They stand in the table below it.
  const plain = (text) => (text.trim().startsWith("stateDiagram") ? text.replace(/(-->\s*\S+?):.*$/gm, "$1") : text);
  const sized = (svg) => {
    const own = /max-width: ([\d.]+)px/.exec(svg);
    return own ? svg.replace(/style="/, `style="min-width: ${Math.round(own[1] * SMALLEST)}px; `) : svg;
  };
  globalThis.mermaid = {
    initialize: (given) => (settings = given),
    render: async (id, text) => {
      const drawn = await (await load()).render(id, plain(text));
      return { ...drawn, svg: sized(drawn.svg) };
    },
  };
})();
