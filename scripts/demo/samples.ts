/** The files that the examples work on, made here. Each is stored under its name. */

interface Sample {
  contentType: string;
  body: () => Uint8Array<ArrayBuffer> | string;
}

const WALKS = `name,km,dogs,opened
Along the mill race,4,yes,2019-05-01
"Over the common, and back",7,yes,2020-09-12
To the old lock,5,no,2018-03-30
Round the reservoir,11,yes,2021-06-21
`;

export const SAMPLES: Record<string, Sample> = {
  "walks.csv": { contentType: "text/csv; charset=utf-8", body: () => WALKS },
};
