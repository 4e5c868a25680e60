/* Browsers start no workers for pages that are opened as files, and the search runs in a worker. Then run
   it in a hidden frame instead, which receives and sends the same messages. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.inside = frame.contentWindow
      const write = text => {
        this.inside.document.open()
        this.inside.document.write(text)
        this.inside.document.close()
      }
      write(`<html><body><script>
        postMessage = (data, target) => {
          if (target === undefined) parent.dispatchEvent(new MessageEvent("worker", { data }))
        }
        loaded = Promise.resolve()
        importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise(done => {
          const script = document.createElement("script")
          script.src = url
          script.onload = done
          document.body.appendChild(script)
        })), Promise.resolve())
      </script><script src="${new URL(url, location)}"></script></body></html>`)
      this.ready = new Promise(done => frame.addEventListener("load", done))
      addEventListener("worker", ({ data }) => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      })
    }
    postMessage(data) {
      this.ready = this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {}
  }
}
