// Live pictures of a camera, one after the other: each is asked for when the one before has been shown, so a slow phone
// or a weak network gets fewer and never old ones.

const AGAIN_MS = 2000;

// Calls back, until `signal` is aborted: onView({...figures, bitmap}), or onTrouble("live-away" | "live-lost" | …).
export async function watch(camera, { onView, onTrouble, signal }) {
  let after = 0;
  while (!signal.aborted) {
    try {
      const answer = await fetch(`/camera/${encodeURIComponent(camera)}/view?after=${after}`, { signal });
      if (answer.status === 401) return location.assign("/login");
      if (answer.status === 204) onTrouble("live-away");
      else if (answer.status === 503) throw new Error("error-many");
      else if (!answer.ok) throw new Error("live-lost");
      else {
        const view = await unpacked(await answer.arrayBuffer());
        after = view.n;
        onView(view);
      }
    } catch (trouble) {
      if (signal.aborted) return;
      onTrouble(trouble.message === "error-many" ? "error-many" : "live-lost");
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

async function unpacked(body) {
  const length = new DataView(body).getUint32(0);
  const figures = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
  const bitmap = await createImageBitmap(new Blob([new Uint8Array(body, 4 + length)], { type: "image/jpeg" }));
  return { ...figures, bitmap };
}
